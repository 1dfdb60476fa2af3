"""What an exception means to the plane, and what of it the plane keeps."""

from collections.abc import Callable

import pytest

from apps.jobs.outcome import (
    Cancelled,
    FailureKind,
    JobTimeout,
    PermanentError,
    RetryableError,
    StopReason,
    classify,
    printable,
)


class OddError(Exception):
    """An error of a handler's own."""


def caught(raising: Callable[[], object]) -> BaseException:
    try:
        raising()
    except BaseException as error:  # noqa: BLE001 - to be looked at
        return error
    raise AssertionError("nothing was raised")


def raise_odd(text: str) -> None:
    raise OddError(text)


@pytest.mark.parametrize(
    ("error", "kind", "code", "message"),
    [
        (PermanentError("no such column"), FailureKind.FAILED, "permanent", "no such column"),
        (PermanentError("no", code="gone"), FailureKind.FAILED, "gone", "no"),
        (RetryableError("busy", retry_after_s=7), FailureKind.RETRY, "retryable", "busy"),
        (JobTimeout(), FailureKind.TIMED_OUT, "timed_out", "the attempt ran past its time"),
        (Cancelled(), FailureKind.CANCELLED, "cancelled", "the attempt stopped as it was told to"),
        (Cancelled(StopReason.FENCED), FailureKind.CANCELLED, "fenced", "the attempt stopped as it was told to"),
        (ValueError("Jane Doe"), FailureKind.RETRY, "unexpected_error", None),
        (TimeoutError("10.0.0.1"), FailureKind.RETRY, "unexpected_error", None),
        (MemoryError(), FailureKind.RETRY, "unexpected_error", None),
        (SystemExit(3), FailureKind.RETRY, "unexpected_error", None),
    ],
)
def test_each_error_has_its_meaning(error: BaseException, kind: FailureKind, code: str, message: str | None) -> None:
    failure = classify(error)
    assert (failure.kind, failure.code, failure.message) == (kind, code, message)


def test_a_strange_errors_text_is_withheld_and_its_place_kept() -> None:
    failure = classify(caught(lambda: raise_odd("could not convert 'Jane Doe'")))
    assert "Jane" not in repr(failure)
    assert failure.error_class.endswith("OddError")
    assert failure.location is not None
    assert failure.location.startswith("unit/jobs/test_types_outcome.py:")


def test_a_fingerprint_tells_kinds_of_failure_apart_and_nothing_else() -> None:
    first, again = (classify(caught(lambda text=text: raise_odd(text))) for text in ("a", "b"))  # type: ignore[misc]
    other = classify(caught(lambda: int("x")))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert len(first.fingerprint) == 16


def test_a_builtin_goes_by_its_plain_name() -> None:
    assert classify(caught(lambda: int("x"))).error_class == "ValueError"


def test_retry_after_is_kept() -> None:
    assert classify(RetryableError("busy", retry_after_s=7)).retry_after_s == 7


def test_messages_and_codes_are_bounded_and_storable() -> None:
    failure = classify(PermanentError("ü" * 4000 + "\x00", code="Bad Code!\n" * 40))
    assert failure.message is not None
    assert len(failure.message.encode()) <= 1024
    assert failure.code.startswith("bad_code_")
    assert len(failure.code) == 64
    assert printable("a\x00b\ud800", limit_bytes=100) == "a\ufffdb?"
