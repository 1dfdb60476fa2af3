"""What a handler may say to the plane through its context, and how it learns that it should stop."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from apps.jobs import harness
from apps.jobs.outcome import StopReason
from apps.jobs.types import Context, JobTimeout, OutsideStorageError, Registry, job_type


def attempt(body: Callable[[Context], None], storage: Path, **options: Any) -> harness.RunResult:
    registry = Registry()

    @job_type("test.body", registry=registry)
    def handler(ctx: Context, params: Mapping[str, Any]) -> None:
        """Do what the test says."""
        body(ctx)

    return harness.run("test.body", storage=storage, registry=registry, **options)


def test_a_log_line_is_a_sentence_with_scalars(tmp_path: Path) -> None:
    result = attempt(lambda ctx: ctx.log("read", rows=3, share=0.5, ok=True, of=None, unit="km"), tmp_path)
    assert result.logs == [
        harness.LogLine("info", "read", {"rows": 3, "share": 0.5, "ok": True, "of": None, "unit": "km"})
    ]


def test_long_and_unstorable_text_is_made_to_fit(tmp_path: Path) -> None:
    result = attempt(lambda ctx: ctx.log("é" * 9000, level="warning", where="x\x00" + "y" * 9000), tmp_path)
    (line,) = result.logs
    assert len(line.message.encode()) <= 4096
    assert line.message.endswith("…")
    assert str(line.fields["where"]).startswith("x\ufffdy")
    assert len(str(line.fields["where"]).encode()) <= 1024


@pytest.mark.parametrize(
    "report",
    [
        lambda ctx: ctx.log("x", level="fatal"),
        lambda ctx: ctx.log("x", row={"name": "Jane"}),
        lambda ctx: ctx.log("x", row=["Jane"]),
        lambda ctx: ctx.log("x", share=math.nan),
        lambda ctx: ctx.log("x", **{"Bad Name": 1}),
        lambda ctx: ctx.log("x", **{f"f{n}": n for n in range(33)}),
        lambda ctx: ctx.metric("rows", math.inf),
        lambda ctx: ctx.metric("rows", True),
        lambda ctx: ctx.metric("rows", 10**400),
        lambda ctx: ctx.metric("rows", "3"),
        lambda ctx: ctx.metric("Rows in", 3),
        lambda ctx: ctx.metric("", 3),
        lambda ctx: ctx.progress(-1),
        lambda ctx: ctx.progress(math.nan),
        lambda ctx: ctx.progress(1, math.inf),
        lambda ctx: ctx.artifact("../x", "x"),
        lambda ctx: ctx.artifact("x", "x", rows=-1),
    ],
)
def test_what_the_plane_must_not_hold_fails_the_attempt_for_good(
    report: Callable[[Context], None], tmp_path: Path
) -> None:
    result = attempt(report, tmp_path)
    assert result.outcome == "failed"
    assert result.error is not None
    assert result.error.code == "bad_report"
    assert "Jane" not in repr(result)


def test_a_failure_is_placed_in_the_handlers_own_file(tmp_path: Path) -> None:
    error = attempt(lambda ctx: ctx.metric("rows", math.nan), tmp_path).error
    assert error is not None
    assert error.location is not None
    assert error.location.startswith("unit/jobs/test_types_context.py:")
    assert error.error_class.endswith("BadReportError")


def test_metrics_and_progress_are_kept(tmp_path: Path) -> None:
    def body(ctx: Context) -> None:
        ctx.progress(1, 2, "half")
        ctx.progress(2)
        ctx.metric("rows", 1)
        ctx.metric("rows", 2.5)

    result = attempt(body, tmp_path)
    assert result.progress == [harness.Progress(1, 2, "half"), harness.Progress(2, None, None)]
    assert result.metrics == {"rows": 2.5}


def test_an_attempt_knows_its_fence(tmp_path: Path) -> None:
    assert attempt(lambda ctx: ctx.metric("fence", ctx.fence), tmp_path, fence=7).metrics == {"fence": 7}


def test_an_artifact_weighs_what_lies_there(tmp_path: Path) -> None:
    def body(ctx: Context) -> None:
        with ctx.open("out/x.txt", "wb") as file:
            file.write(b"abc")
        made = ctx.artifact("x", ctx.uri("out/x.txt"), rows=1)
        assert made.uri == f"{tmp_path.as_uri()}/out/x.txt"

    artifact = attempt(body, tmp_path).artifacts["x"]
    assert (artifact.bytes, artifact.rows) == (3, 1)
    assert artifact.digest == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_handler_cannot_leave_its_tenants_storage(tmp_path: Path) -> None:
    def body(ctx: Context) -> None:
        with pytest.raises(OutsideStorageError):
            ctx.uri("../globex/x")
        with pytest.raises(OutsideStorageError):
            ctx.artifact("x", "../globex/x")
        with pytest.raises(OutsideStorageError), ctx.open("../globex/x"):
            pass

    assert attempt(body, tmp_path).outcome == "succeeded"


@pytest.mark.parametrize(
    ("reason", "outcome", "code"),
    [
        (StopReason.CANCELLED, "cancelled", "cancelled"),
        (StopReason.WITHDRAWN, "cancelled", "entitlement_withdrawn"),
        (StopReason.FENCED, "cancelled", "fenced"),
        (StopReason.SHUTDOWN, "cancelled", "shutdown"),
        (StopReason.TIMED_OUT, "timed_out", "timed_out"),
    ],
)
def test_a_checkpoint_stops_for_the_reason_given(reason: StopReason, outcome: str, code: str, tmp_path: Path) -> None:
    result = attempt(lambda ctx: ctx.checkpoint(), tmp_path, should_stop=lambda: reason)
    assert result.outcome == outcome
    assert result.error is not None
    assert result.error.code == code
    assert not (tmp_path / "runs").exists()


def test_a_tight_loop_asks_the_plane_five_times_a_second(tmp_path: Path) -> None:
    def body(ctx: Context) -> None:
        now = 0.0
        ctx.monotonic = lambda: now
        for n in range(1000):
            now = n / 1000
            ctx.checkpoint()

    assert attempt(body, tmp_path).questions == 5


def test_once_told_to_stop_it_stays_so(tmp_path: Path) -> None:
    answers = [StopReason.TIMED_OUT, None]

    def body(ctx: Context) -> None:
        assert ctx.cancelled
        ctx.monotonic = lambda: math.inf
        assert ctx.cancelled
        with pytest.raises(JobTimeout):
            ctx.checkpoint()

    assert attempt(body, tmp_path, should_stop=lambda: answers.pop(0)).outcome == "succeeded"
