"""What a handler is given: its job's facts, its tenant's storage, and a few words to the plane. Pure Python.

Through here only names, numbers, short sentences, URIs and digests reach the plane; rows stay in the storage.
"""

import math
import re
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import IO, Any, Literal, Protocol, get_args

from apps.jobs.outcome import Cancelled, JobTimeout, PermanentError, StopReason, printable
from apps.jobs.storage import TenantStorage

Level = Literal["debug", "info", "warning", "error"]
Scalar = str | int | float | bool | None

MESSAGE_BYTES = 4096
FIELD_BYTES = 1024
MAX_FIELDS = 32
# The plane is asked no more often than this, however tight the handler's loop: five questions a second cost nothing,
# and a person who presses "cancel" cannot tell 0.2 s from at once.
ASK_EVERY_S = 0.2

_METRIC = re.compile(r"[a-z][a-z0-9_]{0,63}")
_FIELD = re.compile(r"[a-z][a-z0-9_]{0,63}")
_ARTIFACT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class BadReportError(PermanentError):
    """The handler told the plane something it must not hold: a defect of the handler, alike at every attempt."""

    default_code = "bad_report"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """Something an attempt made, as the plane knows it: where it lies and what it weighs, never what it says."""

    name: str
    uri: str
    digest: str
    bytes: int
    rows: int | None = None


class Reporter(Protocol):
    """The plane's side of the context: the worker writes to PostgreSQL, the test harness to lists.

    Called from the handler's own thread, as often as the handler likes: an implementation that writes over
    a network gathers. Values are already checked and bounded.
    """

    def log(self, *, level: Level, message: str, fields: Mapping[str, Scalar]) -> None:
        """Take one line of the attempt's log."""

    def progress(self, *, done: float, total: float | None, message: str | None) -> None:
        """Take how far the attempt is; the newest word replaces those before."""

    def metric(self, *, name: str, value: float) -> None:
        """Take a number of the attempt; said again, the newest counts."""

    def artifact(self, artifact: Artifact) -> None:
        """Take something the attempt made; the same name again replaces it."""

    def should_stop(self) -> StopReason | None:
        """Return why the attempt should stop now, or None. Also the attempt's sign of life."""


@dataclass(kw_only=True)
class Context:
    """One attempt at one job. `attempt` is 1 for the first; `contract` the contract's document, if the job has one.

    `fence` grows with each dispatch of the job: who writes it beside his work, where only a greater or equal one may
    follow, keeps out an attempt that has been given up and does not know it.
    """

    job_id: str
    tenant_id: str
    type: str
    attempt: int
    fence: int
    storage: TenantStorage = field(repr=False)
    reporter: Reporter = field(repr=False)
    contract: Mapping[str, Any] | None = field(default=None, repr=False)
    monotonic: Callable[[], float] = field(default=time.monotonic, repr=False)
    _asked_at: float = field(default=-math.inf, init=False, repr=False)
    _stop: StopReason | None = field(default=None, init=False, repr=False)

    def log(self, message: str, level: Level = "info", **fields: Scalar) -> None:
        """Write a line to the job's log: a sentence (cut at 4 KiB) and up to 32 named scalars; no data values.

        Raises BadReportError on an unknown level, a field that is no scalar or not finite, too many fields.
        """
        if level not in get_args(Level):
            raise BadReportError(f"a log level must be one of: {', '.join(get_args(Level))}")
        if len(fields) > MAX_FIELDS:
            raise BadReportError(f"a log line has at most {MAX_FIELDS} fields")
        kept = {name: _scalar(name, value) for name, value in fields.items()}
        self.reporter.log(level=level, message=printable(str(message), limit_bytes=MESSAGE_BYTES), fields=kept)

    def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Say how far the attempt is: `done` of `total` (any unit; None: unknown), and perhaps a word about it."""
        if not _finite(done) or done < 0 or (total is not None and not (_finite(total) and total >= 0)):
            raise BadReportError("progress is told in finite numbers from 0")
        words = None if message is None else printable(str(message), limit_bytes=FIELD_BYTES)
        self.reporter.progress(done=done, total=total, message=words)

    def metric(self, name: str, value: float) -> None:
        """Report a number about the work (rows, bytes, seconds) under a name of a-z, 0-9 and _."""
        if not _METRIC.fullmatch(name):
            raise BadReportError("a metric's name must be of a-z, 0-9 and _, and start with a letter")
        if not _finite(value):
            raise BadReportError(f"the metric {name} must be a finite number")
        self.reporter.metric(name=name, value=value)

    @property
    def cancelled(self) -> bool:
        """Whether the attempt should stop: cancelled, out of time, fenced off. Cheap: ask as often as you like."""
        return self._told_to_stop() is not None

    def checkpoint(self) -> None:
        """Stop here if the attempt should stop: raises Cancelled (or JobTimeout). Call it in every loop."""
        reason = self._told_to_stop()
        if reason is StopReason.TIMED_OUT:
            raise JobTimeout
        if reason is not None:
            raise Cancelled(reason)

    def _told_to_stop(self) -> StopReason | None:
        now = self.monotonic()
        if self._stop is None and now - self._asked_at >= ASK_EVERY_S:
            self._asked_at = now
            self._stop = self.reporter.should_stop()
        return self._stop

    def uri(self, path: str) -> str:
        """Return the URI of `path` in the tenant's own storage; raises OutsideStorageError on any way out of it."""
        return self.storage.uri(path)

    def open(self, path: str, mode: str = "rb") -> AbstractContextManager[IO[Any]]:
        """Open a path or URI in the tenant's storage, in a `with`; a write appears whole or not at all."""
        return self.storage.open(path, mode)

    def artifact(self, name: str, path: str, rows: int | None = None) -> Artifact:
        """Record a file the attempt made: its size and digest are computed here, by reading it back."""
        if not _ARTIFACT.fullmatch(name):
            raise BadReportError("an artifact's name must be of letters, digits and . _ -")
        if rows is not None and not _count(rows):
            raise BadReportError("an artifact's rows must be a whole number from 0, or None")
        described = self.storage.describe(path)
        made = Artifact(name=name, uri=self.uri(path), digest=described.digest, bytes=described.bytes, rows=rows)
        self.reporter.artifact(made)
        return made

    @property
    def folder(self) -> str:
        """The attempt's own folder in the tenant's storage, for what only this attempt is about."""
        return f"runs/{self.job_id}/{self.attempt}"

    def keep_traceback(self, error: BaseException) -> str:
        """Write the full traceback to the tenant's storage, where its data values may stand, and return its URI."""
        path = f"{self.folder}/traceback.txt"
        text = "".join(traceback.format_exception(error)).encode("utf-8", "backslashreplace")
        with self.open(path, "wb") as file:
            file.write(text)
        return self.uri(path)


def _finite(value: object) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return -(2**63) <= value < 2**63  # what PostgreSQL and JSON's readers hold
    return isinstance(value, float) and math.isfinite(value)


def _count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _scalar(name: str, value: object) -> Scalar:
    if not _FIELD.fullmatch(name):
        raise BadReportError("a log field's name must be of a-z, 0-9 and _, and start with a letter")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return printable(value, limit_bytes=FIELD_BYTES)
    if isinstance(value, int | float) and _finite(value):
        return value
    raise BadReportError(f"the log field {name} must be text, a finite number, true, false or None")
