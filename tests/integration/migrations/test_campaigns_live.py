"""Whole campaigns by the migrator's own looks, with jobs that end as chance has it, kills, and people who interfere."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings

from apps.jobs.lifecycle import Ending
from apps.migrations import registry
from apps.migrations.lifecycle import OVER, STOPPED, IllegalMoveError, State
from apps.migrations.operations import asking
from apps.tenancy.context import across_tenants
from tests.integration.conftest import Look
from tests.integration.migrations.conftest import Made, Proven, Told
from tests.support.campaigning import Campaign
from tests.support.database import InRole
from tests.support.work import claimed, finish, worker
from workers.migrator import Migrator

FOLDER = """
name: crm
from: "1.4"
to: "1.5"
description: In steps that are jobs
risk: low
targets: {kind: tenant}
parallel: 2
waves: [{count: 1}, {percent: 100}]
gates: {bake_s: 0, health: true, failure_rate: off}
on_failure: ON_FAILURE
steps:
  - {name: add, kind: job, phase: expand, type: ops.noop, params: {}, revert: {type: ops.noop, params: {}}}
  - {name: fill, kind: job, phase: backfill, type: ops.noop, params: {}, revert: {type: ops.noop, params: {}}}
  - {name: ask, kind: job, phase: verify, type: ops.noop, params: {}, revert: nothing}
"""
CONTRACT = "  - {name: drop, kind: job, phase: contract, type: ops.noop, params: {}}\n"
OPEN = """
SELECT j.job_id, j.status, s.number, s.direction, t.key, t.wave
  FROM jobs j LEFT JOIN migration_steps s ON s.job_id = j.job_id LEFT JOIN migration_targets t USING (target_id)
 WHERE j.outcome IS NULL ORDER BY j.job_id
"""
MOVES: list[Callable[..., Any]] = [
    asking.pause, asking.resume, asking.resume, asking.retry, asking.retry, asking.abort, asking.revert,
]  # fmt: skip
MOST_LOOKS = 150


class _Kill(BaseException):
    """The process ended here."""


class Mortal(Migrator):
    """A migrator that is killed between any two of its actions, now and then."""

    def __init__(self, *, chance: Random, often: float) -> None:
        super().__init__()
        self._chance, self._often = chance, often

    def _do(self, action: Any, **more: Any) -> None:
        if self._chance.random() < self._often:
            raise _Kill
        super()._do(action, **more)
        if self._chance.random() < self._often:
            raise _Kill


class Life:
    """A campaign with its jobs, and what was truly done to each target."""

    def __init__(self, *, campaign: Campaign, look: Look, chance: Random) -> None:
        self.campaign, self._look, self.chance = campaign, look, chance
        self.has: dict[str, set[int]] = {"acme": set(), "globex": set(), "sandbox": set()}
        self._running: dict[UUID, Any] = {}

    def status(self) -> State:
        """Return where the campaign stands."""
        (row,) = self._look("SELECT status FROM migrations WHERE id = %s", self.campaign.id)
        return State(row["status"])

    def ask(self, move: Callable[..., Any]) -> None:
        """Ask what a person asks, allowed or not."""
        with across_tenants(), suppress(IllegalMoveError):
            move(migration_id=self.campaign.id, by="grace")

    def check(self) -> None:
        """Assert what holds at every instant."""
        jobs = self._look(OPEN)
        assert all(job["key"] is not None for job in jobs), "a job runs that no step knows"
        keys = [job["key"] for job in jobs]
        assert len(keys) == len(set(keys)), "two jobs under way for one target"
        assert len(keys) <= 2, "more at once than is allowed"
        for job in jobs:
            others = self.has[job["key"]] - {job["number"]}
            wanted = set(range(job["number"]))
            if job["direction"] == "up":
                assert others >= wanted, "a step runs before what stands before it was done"
            else:
                assert not {each for each in others if each > job["number"] and each != 2}

    def work(self, *, fails: float) -> None:
        """Let jobs begin and end as chance has it."""
        for job in self._look(OPEN):
            if self.chance.random() < 0.3:
                continue
            job_id = job["job_id"]
            with across_tenants():
                if job["status"] == "queued":
                    self._running[job_id] = claimed(job_id, worker_id=worker())
                    continue
                run = self._running[job_id]
                if self.chance.random() < fails:
                    finish(run, Ending.FAILED, permanent=True)
                    continue
                finish(run)
            done = self.has[job["key"]]
            if job["direction"] == "up":
                done.add(job["number"])
            else:
                done.discard(job["number"])


@pytest.mark.parametrize("seed", range(8))
def test_a_campaign_that_everything_happens_to_keeps_its_promises_and_ends(
    seed: int, made: Made, in_role: InRole, look: Look, told: Told, proven: Proven, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    chance = Random(seed)  # noqa: S311 - a test's, told by its name
    folder = tmp_path / "crm"
    folder.mkdir()
    text = FOLDER.replace("ON_FAILURE", chance.choice(["pause", "revert", "revert_wave"]))
    (folder / "migration.yaml").write_text(text + (CONTRACT if seed % 2 else ""))
    monkeypatch.setattr(settings, "ENVIRONMENT", replace(settings.ENVIRONMENT, migrations=(tmp_path,)))
    campaign = made(registry.read(folder), drill=seed % 3 == 0).laid(["acme"], ["globex", "sandbox"])
    life = Life(campaign=campaign, look=look, chance=chance)
    with in_role("control"):
        migrator = Mortal(chance=chance, often=0.1)
        for _ in range(chance.randrange(40)):
            try:
                migrator.step()
            except _Kill:
                migrator = Mortal(chance=chance, often=0.1)
            life.check()
            if chance.random() < 0.15:
                life.ask(chance.choice(MOVES))
            life.work(fails=0.1)
        calm = Migrator()
        for _ in range(MOST_LOOKS):
            if (status := life.status()) in OVER:
                break
            if status in STOPPED:
                life.ask(asking.retry)
            calm.step()
            assert calm._defects == {}
            life.check()
            life.work(fails=0.0)
    status = life.status()
    assert status in OVER, f"it does not end: {campaign.states()}"
    steps = set(range(4 if seed % 2 else 3))
    if status is State.SUCCEEDED:
        assert all(each == steps for each in life.has.values())
        assert told(campaign)[-1] == "completed"
    if status is State.REVERTED:
        assert not any(each & {0, 1} for each in life.has.values())
        assert {each.split()[0] for each in campaign.states().values()} <= {"reverted", "waiting"}
    assert look(OPEN) == []
    assert look("SELECT 1 FROM migration_targets WHERE holds") == []
    rows = proven(campaign)
    assert rows[-1]["outcome"] == status.value
    assert [row["from"] for row in rows[2:]] == [row["to"] for row in rows[1:-1]], "evidence tells of each transition"
