"""How an attempt ends: the errors a handler may raise, and what any exception means to the plane. Pure.

The plane keeps an error's class, code, place and fingerprint, and the sentence only where the handler's
author vouched for it by raising one of the errors here. Any other exception's text may quote a row of
somebody's data ("could not convert 'Jane Doe'"), so it stays in the tenant's own storage.
"""

import hashlib
import re
import traceback
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePath
from types import TracebackType

MESSAGE_BYTES = 1024
_PLUMBING = str(Path(__file__).with_name("types.py"))


class StopReason(StrEnum):
    """Why a running attempt is told to stop."""

    CANCELLED = "cancelled"
    WITHDRAWN = "entitlement_withdrawn"
    FENCED = "fenced"  # the lease went to another worker: what this attempt does counts no more
    SHUTDOWN = "shutdown"  # a deploy: the job is handed back, its attempt not counted
    TIMED_OUT = "timed_out"


class FailureKind(StrEnum):
    """What an attempt that did not succeed came to."""

    FAILED = "failed"  # for good: another attempt would fail alike
    RETRY = "retry"  # another attempt may succeed, if the type's policy grants one
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


class JobError(Exception):
    """An error whose sentence its author vouches for: no data value, no secret in it. The plane keeps it."""

    default_code = "failed"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        """Take a sentence for people and a stable word (a-z, 0-9, _) for programs."""
        super().__init__(message)
        self.message = message
        self.code = _word(code or self.default_code)


class PermanentError(JobError):
    """The job fails now: trying again could not help."""

    default_code = "permanent"


class RetryableError(JobError):
    """This attempt failed; a later one may succeed. `retry_after_s` (seconds) is the earliest sensible time."""

    default_code = "retryable"

    def __init__(self, message: str, *, code: str | None = None, retry_after_s: float | None = None) -> None:
        """Take what JobError takes, and the pause the other side asked for."""
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s


class JobTimeout(JobError):  # noqa: N818 - the name module engineers know from the documentation
    """The attempt ran past its time."""

    default_code = "timed_out"

    def __init__(self, message: str = "the attempt ran past its time", *, code: str | None = None) -> None:
        """Take a sentence of one's own, or the usual one."""
        super().__init__(message, code=code)


class Cancelled(JobError):  # noqa: N818 - it reports a wish fulfilled, not an error
    """The attempt stopped because it was told to; `reason` says by what."""

    default_code = "cancelled"

    def __init__(self, reason: StopReason = StopReason.CANCELLED) -> None:
        """Take the reason the plane gave."""
        super().__init__("the attempt stopped as it was told to", code=reason.value)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt's end as the plane keeps it. `message` is None where nobody vouched for its text."""

    kind: FailureKind
    error_class: str
    code: str
    message: str | None
    fingerprint: str
    location: str | None
    retry_after_s: float | None = None


def classify(exc: BaseException) -> Failure:
    """Return what `exc`, raised by a handler, means: the one place that decides it, in worker and harness alike."""
    places = _own_frames(exc.__traceback__)
    vouched = isinstance(exc, JobError)
    return Failure(
        kind=_kind(exc),
        error_class=_class_name(exc),
        code=exc.code if isinstance(exc, JobError) else "unexpected_error",
        message=_bounded(exc.message) if vouched and isinstance(exc, JobError) else None,
        fingerprint=_fingerprint(exc, places),
        location=f"{_short(places[-1].filename)}:{places[-1].lineno}" if places else None,
        retry_after_s=exc.retry_after_s if isinstance(exc, RetryableError) else None,
    )


def _kind(exc: BaseException) -> FailureKind:
    if isinstance(exc, PermanentError):
        return FailureKind.FAILED
    if isinstance(exc, JobTimeout):
        return FailureKind.TIMED_OUT
    if isinstance(exc, Cancelled):
        return FailureKind.CANCELLED
    return FailureKind.RETRY


def _own_frames(trace: TracebackType | None) -> list[traceback.FrameSummary]:
    """Return the handler's own frames, outermost first: those of files beside or below the handler's.

    A foreign handler lives in site-packages as its libraries do, so "not a library" cannot be the test.
    """
    frames = list(traceback.StackSummary.extract(traceback.walk_tb(trace), lookup_lines=False))
    entry = max(
        (n for n, frame in enumerate(frames) if frame.filename == _PLUMBING and frame.name == "run"), default=-1
    )
    frames = frames[entry + 1 :] or frames
    if not frames:
        return []
    home = PurePath(frames[0].filename).parent
    return [frame for frame in frames if PurePath(frame.filename).is_relative_to(home)]


def _fingerprint(exc: BaseException, places: list[traceback.FrameSummary]) -> str:
    """Return 16 hex digits alike for alike errors: class and functions, no line numbers and no text."""
    steps = "|".join(f"{_short(place.filename)}:{place.name}" for place in places)
    return hashlib.sha256(f"{_class_name(exc)}|{steps}".encode()).hexdigest()[:16]


def _class_name(exc: BaseException) -> str:
    kind = type(exc)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return name[:200]


def _short(filename: str) -> str:
    """Return the end of a path: enough to find the file, nothing about the machine."""
    return "/".join(PurePath(filename).parts[-3:])


def _word(code: str) -> str:
    # Lenient on purpose: raising here would turn a permanent failure into an unexpected, retried one.
    return re.sub(r"[^a-z0-9_]+", "_", code.lower())[:64]


def _bounded(message: str) -> str:
    return printable(message, limit_bytes=MESSAGE_BYTES)


def printable(text: str, *, limit_bytes: int) -> str:
    """Return `text` as PostgreSQL and JSON can hold it: no NUL, no lone surrogates, at most `limit_bytes` of UTF-8."""
    raw = text.replace("\x00", "\ufffd").encode("utf-8", "replace")
    if len(raw) <= limit_bytes:
        return raw.decode()
    return raw[: limit_bytes - 3].decode("utf-8", "ignore") + "…"
