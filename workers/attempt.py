"""One attempt's line to the plane: gathers what the handler reports and sends it in batches, from another thread.

The handler's thread never waits for the database. The process's one speaker (workers/speaker.py) asks where the attempt
stands at least once a second, so that a cancelled or fenced-off attempt learns of it at its next checkpoint whatever it
is doing.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any
from uuid import UUID

import structlog
from django.db import Error, connection

from apps.core.clock import DatabaseClock
from apps.core.digests import canonical
from apps.jobs.context import Artifact, Level, Scalar
from apps.jobs.operations import run
from apps.jobs.operations.processes import LEASE_S
from apps.jobs.outcome import StopReason

log = structlog.get_logger(__name__)

# A log is for reading: beyond this many lines an attempt's further ones are counted, not kept.
MAX_LINES = 10_000
MAX_BATCH_LINES = 500
LARGEST_SHARED = 2**53 - 1
SMALLEST_PLAIN = 1e-4


class AttemptLine:
    """A `Reporter` over PostgreSQL for the attempt under `fence`, for a `Speaker` to speak for."""

    def __init__(
        self,
        *,
        job_id: UUID,
        fence: int,
        clock: DatabaseClock,
        bundle_id: UUID | None = None,
        heartbeat_s: float | None = None,
    ) -> None:
        self._job_id = job_id
        self._fence = fence
        self._bundle_id = bundle_id
        self._clock = clock
        self._lock = threading.Lock()
        self._unsent: list[list[Any]] = []
        self._sending: list[list[Any]] = []
        self._sent_lines = 0
        self._dropped_lines = 0
        self._hash = hashlib.sha256()
        self._progress: dict[str, Any] | None = None
        self._stop: StopReason | None = None
        self._heard_at = time.monotonic()
        self._heartbeat_s = heartbeat_s
        self._word_at = time.monotonic()
        self._wake: Callable[[], None] | None = None
        self._waking = threading.Lock()
        self.metrics: dict[str, float] = {}
        self.artifacts: dict[str, Artifact] = {}

    def log(self, *, level: Level, message: str, fields: Mapping[str, Scalar]) -> None:
        """Take one line of the attempt's log."""
        self._word_at = time.monotonic()
        with self._lock:
            if self._sent_lines + len(self._unsent) >= MAX_LINES:
                self._dropped_lines += 1
                return
            at = self._clock.now().isoformat().replace("+00:00", "Z")
            self._unsent.append([at, level, message, {name: _plain(value) for name, value in fields.items()}])

    def progress(self, *, done: float, total: float | None, message: str | None) -> None:
        """Take how far the attempt is."""
        self._word_at = time.monotonic()
        with self._lock:
            self._progress = {"done": done, "total": total, "message": message}

    def metric(self, *, name: str, value: float) -> None:
        """Take a number of the attempt."""
        self._word_at = time.monotonic()
        self.metrics[name] = value

    def artifact(self, artifact: Artifact) -> None:
        """Take something the attempt made."""
        self._word_at = time.monotonic()
        self.artifacts[artifact.name] = artifact

    def should_stop(self) -> StopReason | None:
        """Return why the attempt should stop. One that hears nothing for a lease's length is fenced off."""
        self._word_at = time.monotonic()
        if self._stop is None and time.monotonic() - self._heard_at > LEASE_S:
            self._stop = StopReason.FENCED
        return self._stop

    @property
    def silent(self) -> bool:
        """Whether the handler has said nothing for longer than its type allows."""
        return self._heartbeat_s is not None and time.monotonic() - self._word_at > self._heartbeat_s

    def wake_by(self, wake: Callable[[], None] | None) -> None:
        """Have `wake` called, from the speaker's thread, each second that the handler is silent; None: no more.

        When this returns no call of the one before is under way.
        """
        with self._waking:
            self._wake = wake

    @property
    def lines(self) -> int:
        """Return how many lines were kept."""
        return self._sent_lines

    @property
    def digest(self) -> str | None:
        """Return the digest of the lines kept (docs/job-types.md says of which bytes); None for none."""
        return f"sha256:{self._hash.hexdigest()}" if self._sent_lines else None

    def result(self) -> dict[str, Any]:
        """Return artifacts and metrics as the plane keeps them."""
        return {
            "artifacts": [asdict(artifact) for artifact in self.artifacts.values()],
            "metrics": dict(self.metrics),
            **({"log_lines_dropped": self._dropped_lines} if self._dropped_lines else {}),
        }

    def flush(self) -> None:
        """Send all that is unsent; raises `django.db.Error`, and then the same call sends it again."""
        while self._unsent or self._progress is not None:
            self._send()

    def speak(self, *, over: Callable[[], bool]) -> None:
        """Send what there is and learn where the attempt stands; what a database that is away did not take is kept.

        For the speaker's thread. `over` says that the attempt is over: the rest is its end's, by `flush`.
        """
        try:
            while self._send() == MAX_BATCH_LINES and not over():
                pass  # a flood: what arrived is what a killed attempt leaves
        except Error as error:
            log.warning("report_failed", job_id=str(self._job_id), error=type(error).__name__)
            connection.close()
        with self._waking:
            if self._wake is not None and self.silent:
                self._wake()

    def _send(self) -> int:
        """Send one batch and learn where the attempt stands; return its lines. On an error it is sent again."""
        with self._lock:
            # The same lines again after an error: they may have arrived, and their place is then taken.
            batch = self._sending = self._sending or self._unsent[:MAX_BATCH_LINES]
            progress = self._progress
        standing = run.report(
            job_id=self._job_id,
            fence=self._fence,
            bundle_id=self._bundle_id,
            progress=progress,
            first_line=self._sent_lines + 1,
            lines=batch,
            silent_s=time.monotonic() - self._word_at,
        )
        with self._lock:
            del self._unsent[: len(batch)]
            self._sending = []
            for line in batch:
                self._hash.update(canonical(line) + b"\n")
            self._sent_lines += len(batch)
            if self._progress is progress:
                self._progress = None
        self._heard_at = time.monotonic()
        if standing.fenced:
            self._stop = StopReason.FENCED
        elif standing.cancel and self._stop is None:
            self._stop = StopReason.CANCELLED
        return len(batch)


def _plain(value: Scalar) -> Scalar:
    """Return a log field's value so that every reader of JSON has the same one, and can recompute the log's digest.

    Numbers that readers take for different ones (beyond 2^53), or write in different ways (nearer to 0 than 0.0001),
    are kept as text; whole ones as integers.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if abs(value) > LARGEST_SHARED or 0 < abs(value) < SMALLEST_PLAIN:
        return repr(value)
    return int(value) if value == int(value) else value
