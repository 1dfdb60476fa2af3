"""One attempt's line to the plane: gathers what the handler reports and sends it in batches, from another thread.

The handler's thread never waits for the database. The sender, one thread a process, asks where the attempt stands at
least once a second, so that a cancelled or fenced-off attempt learns of it at its next checkpoint whatever it is doing.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
import structlog
from django.db import Error, connection

from apps.core.clock import DatabaseClock
from apps.jobs.context import Artifact, Level, Scalar
from apps.jobs.operations import run
from apps.jobs.operations.processes import LEASE_S
from apps.jobs.outcome import StopReason

log = structlog.get_logger(__name__)

SEND_EVERY_S = 1.0
# A log is for reading: beyond this many lines an attempt's further ones are counted, not kept.
MAX_LINES = 10_000
MAX_BATCH_LINES = 500


class AttemptLine:
    """A `Reporter` over PostgreSQL for the attempt under `fence`; use as a context manager around the handler."""

    def __init__(self, *, job_id: UUID, fence: int, claimed_at: datetime, clock: DatabaseClock) -> None:
        self._job_id = job_id
        self._fence = fence
        self._claimed_at = claimed_at
        self._clock = clock
        self._lock = threading.Lock()
        self._unsent: list[tuple[datetime, Level, str, Mapping[str, Scalar]]] = []
        self._sent_lines = 0
        self._dropped_lines = 0
        self._hash = hashlib.sha256()
        self._progress: dict[str, Any] | None = None
        self._stop: StopReason | None = None
        self._heard_at = time.monotonic()
        self.metrics: dict[str, float] = {}
        self.artifacts: dict[str, Artifact] = {}

    def __enter__(self) -> AttemptLine:
        """Open the line."""
        _sender().open(self)
        return self

    def __exit__(self, *_: object) -> None:
        """Close the line; what is unsent goes with the attempt's end, by `flush`."""
        _sender().close()

    def log(self, *, level: Level, message: str, fields: Mapping[str, Scalar]) -> None:
        """Take one line of the attempt's log."""
        with self._lock:
            if self._sent_lines + len(self._unsent) >= MAX_LINES:
                self._dropped_lines += 1
                return
            self._unsent.append((self._clock.now(), level, message, fields))

    def progress(self, *, done: float, total: float | None, message: str | None) -> None:
        """Take how far the attempt is."""
        with self._lock:
            self._progress = {"done": done, "total": total, "message": message}

    def metric(self, *, name: str, value: float) -> None:
        """Take a number of the attempt."""
        self.metrics[name] = value

    def artifact(self, artifact: Artifact) -> None:
        """Take something the attempt made."""
        self.artifacts[artifact.name] = artifact

    def should_stop(self) -> StopReason | None:
        """Return why the attempt should stop. One that hears nothing for a lease's length is fenced off."""
        if self._stop is None and time.monotonic() - self._heard_at > LEASE_S:
            self._stop = StopReason.FENCED
        return self._stop

    @property
    def fenced(self) -> bool:
        """Whether the job is known to be somebody else's by now."""
        return self._stop is StopReason.FENCED

    @property
    def lines(self) -> int:
        """Return how many lines were kept."""
        return self._sent_lines

    @property
    def digest(self) -> str | None:
        """Return the digest of the lines kept, as their JSON bytes one after the other; None for none."""
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

    def speak(self) -> None:
        """Send a batch, in the sender's thread; what a database that is away did not take is sent at the next turn."""
        try:
            self._send()
        except Error as error:
            log.warning("report_failed", job_id=str(self._job_id), error=type(error).__name__)
            connection.close()
        except Exception:  # the thread is the next attempts' too; one that is not heard ends this attempt by itself
            log.exception("report_broke", job_id=str(self._job_id))

    def _send(self) -> None:
        """Send one batch and learn where the attempt stands. On an error nothing is lost: it is sent again."""
        with self._lock:
            batch = self._unsent[:MAX_BATCH_LINES]
            progress = self._progress
        lines = [[at, level, message, fields] for at, level, message, fields in batch]
        standing = run.report(
            job_id=self._job_id,
            fence=self._fence,
            claimed_at=self._claimed_at,
            progress=progress,
            first_line=self._sent_lines + 1,
            lines=lines,
        )
        with self._lock:
            del self._unsent[: len(batch)]
            for line in lines:
                self._hash.update(orjson.dumps(line) + b"\n")
            self._sent_lines += len(batch)
            if self._progress is progress:
                self._progress = None
        self._heard_at = time.monotonic()
        if standing.fenced:
            self._stop = StopReason.FENCED
        elif standing.cancel and self._stop is None:
            self._stop = StopReason.CANCELLED


class _Sender:
    """The thread that speaks for the line which is open, if one is. It outlives the attempts of its process.

    A thread an attempt would cost a short one more than its handler; and its first word is due after a second only.
    """

    def __init__(self) -> None:
        self._speaking = threading.Lock()
        self._line: AttemptLine | None = None
        threading.Thread(target=self._run, name="attempt-line", daemon=True).start()

    def open(self, line: AttemptLine) -> None:
        """Speak for `line` from now on, at least once in `SEND_EVERY_S`."""
        self._line = line

    def close(self) -> None:
        """Speak for nobody; returns when a word under way is out."""
        self._line = None
        with self._speaking:
            pass

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            pause.wait(timeout=SEND_EVERY_S)
            with self._speaking:
                line = self._line
                if line is not None:
                    line.speak()
            if line is None:
                connection.close()


_senders: list[_Sender] = []


def _sender() -> _Sender:
    """Return this process's sender, made when its first attempt begins: threads do not survive a fork."""
    if not _senders:
        _senders.append(_Sender())
    return _senders[0]
