"""The diagnostics do what they say."""

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from apps.jobs import harness
from apps.jobs.outcome import StopReason
from apps.jobs.types import REGISTRY
from workers.catalog import ops


def test_they_are_all_marked_as_diagnostics() -> None:
    assert all(REGISTRY.of(handler).diagnostic for handler in (ops.noop, ops.sleep, ops.fail, ops.crash))


def test_noop_succeeds(tmp_path: Path) -> None:
    assert harness.run("ops.noop", storage=tmp_path).outcome == "succeeded"
    assert list(tmp_path.iterdir()) == []


def test_sleep_sleeps_and_tells(tmp_path: Path) -> None:
    began = time.monotonic()
    result = harness.run("ops.sleep", params={"seconds": 0.3}, storage=tmp_path)
    assert result.outcome == "succeeded"
    assert time.monotonic() - began >= 0.3
    assert [each.done for each in result.progress] == [0, 0.3]


def test_sleep_stops_soon_when_told_to(tmp_path: Path) -> None:
    answers = iter([None, StopReason.CANCELLED])
    began = time.monotonic()
    result = harness.run("ops.sleep", params={"seconds": 60}, storage=tmp_path, should_stop=lambda: next(answers))
    assert result.outcome == "cancelled"
    assert time.monotonic() - began < 5


def test_fail_fails_that_many_attempts_then_succeeds(tmp_path: Path) -> None:
    outcomes = [
        harness.run("ops.fail", params={"times": 2}, storage=tmp_path, attempt=attempt).outcome for attempt in (1, 2, 3)
    ]
    assert outcomes == ["retry", "retry", "succeeded"]


def test_fail_can_fail_for_good(tmp_path: Path) -> None:
    result = harness.run("ops.fail", params={"times": 1, "permanent": True}, storage=tmp_path)
    assert result.outcome == "failed"
    assert result.error is not None
    assert result.error.code == "asked_to_fail"


@pytest.mark.parametrize("params", [{}, {"seconds": -1}, {"seconds": "1"}, {"seconds": 1, "minutes": 1}])
def test_sleep_refuses_other_params(tmp_path: Path, params: dict[str, object]) -> None:
    with pytest.raises(harness.ParamsRefusedError):
        harness.run("ops.sleep", params=params, storage=tmp_path)


@pytest.mark.parametrize(
    ("params", "attempt", "code"),
    [
        ("{}", 1, -signal.SIGKILL),
        ("{}", 7, -signal.SIGKILL),
        ("{'times': 1}", 1, -signal.SIGKILL),
        ("{'times': 1}", 2, 0),
    ],
)
def test_crash_kills_the_process_that_runs_it(tmp_path: Path, params: str, attempt: int, code: int) -> None:
    script = f"""
        from pathlib import Path
        from apps.jobs import harness
        import workers.catalog.ops
        harness.run("ops.crash", params={params}, attempt={attempt}, storage=Path({str(tmp_path)!r}))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False, timeout=60)
    assert done.returncode == code
