"""Thirty generated histories of work and harm; afterwards every promise holds. TEST_SEED plays a seed again."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from opsplatform.plane import CHECKOUT, Plane
from tests.faults.histories import Player, player
from tests.support.client import Caller, Truth
from tests.support.invariants import broken

HISTORIES = 30
COMMANDS_EACH = 6


@pytest.mark.timeout(420)
def test_no_history_breaks_a_promise(plane: Plane, truth: Truth, calling: Callable[..., Caller]) -> None:
    seed = int(os.environ.get("TEST_SEED") or secrets.randbelow(2**31))
    print(f"seed {seed}: TEST_SEED={seed} plays it again")
    with player(plane, truth=truth, calling=calling) as playing:
        for number in range(HISTORIES):
            playing.play(seed=seed + number, commands=COMMANDS_EACH)
        judge(playing, seed=seed)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_a_long_run_breaks_no_promise(plane: Plane, truth: Truth, calling: Callable[..., Caller]) -> None:
    """`make soak MINUTES=30`: histories without a pause, judged every ten of them."""
    seed = int(os.environ.get("TEST_SEED") or secrets.randbelow(2**31))
    truth.execute("UPDATE plans SET jobs_per_day = NULL")  # half an hour's work is more than the basic plan's day
    end = time.monotonic() + 60 * float(os.environ.get("SOAK_MINUTES", "30"))
    number = 0
    while time.monotonic() < end:
        with player(plane, truth=truth, calling=calling) as playing:
            for _ in range(10):
                playing.play(seed=seed + number, commands=12)
                number += 1
            judge(playing, seed=seed)


def judge(playing: Player, *, seed: int) -> None:
    """Let the plane come to rest and ask every promise."""
    playing.settle(within_s=240)
    print(f"{len(playing.accepted)} jobs accepted; done to the plane: {dict(playing.done)}")
    assert playing.accepted, f"seed {seed}: nothing was accepted"
    assert playing.wrong_ends() == [], f"seed {seed}"
    assert broken(playing.truth) == [], f"seed {seed}"
    told = subprocess.run(
        [sys.executable, "manage.py", "doctor"],
        check=False,
        cwd=CHECKOUT,
        env={**os.environ, "OPS_HOME": str(playing.plane.home)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert told.returncode == 0, f"seed {seed}: {told.stdout}{told.stderr}"
