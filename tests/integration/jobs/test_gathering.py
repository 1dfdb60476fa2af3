"""A stream's jobs are let come for a moment; whoever is alone, new, or was left waiting is looked at at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence

import psycopg
import pytest

from apps.jobs.operations.wake import CHANNEL
from tests.integration.conftest import Change, Control
from tests.support.queue import queue
from workers import scheduler as scheduling
from workers.loop import Leadership
from workers.scheduler import Scheduler


@pytest.fixture(autouse=True)
def long_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A moment that does not end within a test."""
    monkeypatch.setattr(scheduling, "GATHER_S", 60.0)


class TestLull:
    """How long more may come before the next look, by what the last one found and by who speaks."""

    def test_nobody_waits_for_whoever_comes_alone(self, scheduler: Scheduler, superuser: psycopg.Connection) -> None:
        scheduler.step()
        assert scheduler.lull(["acme"]) <= 0

    def test_a_streams_jobs_are_gathered(self, scheduler: Scheduler, superuser: psycopg.Connection) -> None:
        queue(superuser, tenant="acme", count=2)
        scheduler.step()
        assert superuser.execute("SELECT count(*) FROM jobs WHERE status = 'dispatched'").fetchone() == (2,)
        assert scheduler.lull(["acme", "", "acme"]) > 50
        assert scheduler.lull([""]) > 50

    def test_a_newcomer_is_not_kept_waiting(self, scheduler: Scheduler, superuser: psycopg.Connection) -> None:
        queue(superuser, tenant="acme", count=2)
        scheduler.step()
        assert scheduler.lull(["acme", "globex"]) <= 0

    def test_a_backlog_is_not_kept_waiting(self, scheduler: Scheduler, superuser: psycopg.Connection) -> None:
        queue(superuser, tenant="acme", count=500)
        scheduler.step()
        assert superuser.execute("SELECT count(*) FROM jobs WHERE status = 'queued'").fetchone() != (0,)
        assert scheduler.lull([""]) <= 0

    def test_who_waits_for_a_slot_of_its_own_is_not_kept_waiting(
        self, scheduler: Scheduler, superuser: psycopg.Connection, change: Change
    ) -> None:
        change("UPDATE plans SET max_running = 2 WHERE plan_id = 'gold'")
        queue(superuser, tenant="acme", count=5)
        for _ in range(3):
            scheduler.step()
            assert scheduler.lull([""]) <= 0

    def test_a_stream_is_over_when_a_look_finds_nothing(
        self, scheduler: Scheduler, superuser: psycopg.Connection
    ) -> None:
        queue(superuser, tenant="acme", count=2)
        scheduler.step()
        scheduler.step()
        assert scheduler.lull(["acme"]) <= 0


def test_a_job_that_will_be_due_is_looked_for_when_it_is(
    scheduler: Scheduler, superuser: psycopg.Connection, change: Change
) -> None:
    (job_id,) = queue(superuser, tenant="acme")
    change(
        "UPDATE jobs SET status = 'scheduled', queued_at = NULL, due_at = clock_timestamp() + interval '300 ms'"
        " WHERE job_id = %s",
        job_id,
    )
    rests = []
    while superuser.execute("SELECT status FROM jobs").fetchone() == ("scheduled",):
        rests.append(scheduler.step())
        threading.Event().wait(rests[-1])
    assert rests[0] <= 0.3
    assert sum(rests) < 0.6, "it was due while the scheduler rested"
    assert rests[-1] == 0.0, "what was released may be followed by more"


class TestRest:
    """The loop's rest, over a session that really listens."""

    @pytest.fixture
    def leadership(self, control: Control) -> Iterator[Leadership]:
        with control():
            made = Leadership(role="scheduler", channel=CHANNEL)
            assert made.held()
            yield made
            made.release()

    def test_goes_on_until_somebody_speaks_who_may_not_be_kept_waiting(
        self, leadership: Leadership, superuser: psycopg.Connection
    ) -> None:
        heard: list[Sequence[str]] = []

        def lull(said: Sequence[str]) -> float:
            heard.append(list(said))
            superuser.execute(b"SELECT pg_notify(%s, %s)", [CHANNEL, f"word-{len(said)}"])
            return 0.0 if "word-2" in said else 30.0

        superuser.execute(b"SELECT pg_notify(%s, '')", [CHANNEL])
        began = time.monotonic()
        leadership.rest(seconds=30, stop=threading.Event(), lull=lull)
        assert heard[-1][:3] == ["", "word-1", "word-2"]
        assert time.monotonic() - began < 20

    def test_ends_when_the_moment_is_over(self, leadership: Leadership, superuser: psycopg.Connection) -> None:
        superuser.execute(b"SELECT pg_notify(%s, '')", [CHANNEL])
        ends = time.monotonic() + 0.3
        leadership.rest(seconds=30, stop=threading.Event(), lull=lambda _: ends - time.monotonic())
        assert 0 <= time.monotonic() - ends < 10
