"""Dispatch: a waiting job gets a slot and a fence, once; what is due is released; what waits is found in its order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import ProgrammingError

from apps.jobs import flight, queries
from apps.jobs.lifecycle import Ending, State
from apps.jobs.operations import recover
from apps.jobs.operations.dispatch import Dispatched, dispatch, release_due
from apps.jobs.retry import Retry
from apps.jobs.scheduling import Pool
from tests.integration.conftest import Change, Control, Look
from tests.support.queue import Driver
from tests.support.work import admitted, claimed, dispatched, finish, only, submitted, worker


def job(look: Look, job_id: UUID) -> dict[str, Any]:
    return dict(only(look("SELECT * FROM jobs WHERE job_id = %s", job_id)))


class TestDispatching:
    """A fence is given once, and only to a job that is queued."""

    def test_gives_a_slot_and_the_first_fence(self, look: Look, control: Control) -> None:
        job_id = admitted("ops.sleep", params={"seconds": 1}, timeout_s=9)
        with control():
            ((made,),) = dispatch([[job_id]])
        row = job(look, job_id)
        assert made == Dispatched(job_id, 1, "ops.sleep", 9, row["bundle_id"])
        assert row["bundle_size"] == 1
        assert (row["status"], row["fence"], row["worker_id"], row["started_at"]) == ("dispatched", 1, None, None)
        assert row["dispatched_at"] is not None

    def test_of_the_same_job_twice_gives_one_fence(self, look: Look, control: Control) -> None:
        job_id = admitted()
        with control():
            (made,) = dispatch([[job_id, job_id]])
            assert len(made) == 2, "asked for twice, told twice, of one fence"
            assert dispatch([[job_id]]) == []
        assert job(look, job_id)["fence"] == 1

    def test_keeps_the_order_asked_for(self, control: Control) -> None:
        ids = [admitted() for _ in range(4)]
        asked = [ids[2], ids[0], ids[3], ids[1]]
        with control():
            assert [[each.job_id for each in bundle] for bundle in dispatch([asked[:3], asked[3:]])] == [
                asked[:3],
                asked[3:],
            ]

    def test_leaves_out_what_is_not_queued_any_more(self, look: Look, control: Control, change: Change) -> None:
        queued, running, cancelled = admitted(), admitted(), admitted()
        later = admitted(run_at=datetime.now(tz=UTC) + timedelta(hours=1))
        refused = submitted("kpi.refresh").job_id
        change("UPDATE jobs SET cancel_requested_at = now() WHERE job_id = %s", cancelled)
        with control():
            claimed(running, worker_id=worker())
            made = dispatch([[running, cancelled], [later, refused, queued, UUID(int=1)]])
        assert [[each.job_id for each in bundle] for bundle in made] == [[queued]]
        assert [job(look, each)["fence"] for each in (running, cancelled, later, refused)] == [1, 0, 0, 0]

    def test_of_nothing_asks_nothing(self, control: Control) -> None:
        with control():
            assert dispatch([]) == []

    def test_after_a_recall_gives_the_next_fence(self, look: Look, control: Control) -> None:
        job_id = admitted()
        with control():
            first = dispatched(job_id)
            recover.unpublished([(job_id, first.fence)], retry_of=lambda _: Retry())
            assert dispatched(job_id).fence == 2

    def test_is_not_for_the_tenants_role_across_tenants(self, look: Look) -> None:
        job_id = admitted()
        with pytest.raises(ProgrammingError, match="permission denied"):
            dispatch([[job_id]])
        assert job(look, job_id)["status"] == "queued"


class TestReleasing:
    """What is due is queued, and nothing earlier."""

    def test_queues_a_scheduled_job_once_its_time_has_come(self, look: Look, control: Control, change: Change) -> None:
        job_id = admitted(run_at=datetime.now(tz=UTC) + timedelta(hours=1))
        with control():
            assert release_due(limit=10) == 0
        change("UPDATE jobs SET due_at = now() WHERE job_id = %s", job_id)
        with control():
            assert release_due(limit=10) == 1
            assert release_due(limit=10) == 0
        row = job(look, job_id)
        assert (row["status"], row["due_at"]) == ("queued", None)
        assert row["queued_at"] is not None

    def test_queues_a_failed_attempts_retry_after_its_pause(self, look: Look, control: Control, change: Change) -> None:
        job_id = admitted()
        with control():
            finish(claimed(job_id, worker_id=worker()), Ending.FAILED, retry=Retry(initial_s=60))
            assert release_due(limit=10) == 0
        change("UPDATE jobs SET due_at = now() WHERE job_id = %s", job_id)
        with control():
            assert release_due(limit=10) == 1
        assert job(look, job_id)["status"] == "queued"

    def test_takes_the_longest_due_first_and_no_more_than_asked(
        self, look: Look, control: Control, change: Change
    ) -> None:
        soon = datetime.now(tz=UTC) + timedelta(hours=1)
        ids = [admitted(run_at=soon) for _ in range(3)]
        for n, job_id in enumerate(ids):
            change("UPDATE jobs SET due_at = now() - make_interval(secs => %s) WHERE job_id = %s", n, job_id)
        with control():
            assert release_due(limit=2) == 2
        assert [job(look, job_id)["status"] for job_id in ids] == ["scheduled", "queued", "queued"]

    def test_leaves_every_other_state_alone(self, look: Look, control: Control, change: Change) -> None:
        job_id = admitted()
        change("UPDATE jobs SET due_at = now() - interval '1 day' WHERE job_id = %s", job_id)
        for state in set(State) - {State.SCHEDULED, State.RETRYING}:
            over = state in {"succeeded", "failed", "cancelled", "timed_out", "rejected", "pending_audit"}
            outcome = None if not over else "failed" if state is State.PENDING_AUDIT else state.value
            change(
                "UPDATE jobs SET status = %s, outcome = %s::text, worker_id = job_id,"
                " finished_at = CASE WHEN %s::text IS NOT NULL THEN now() END,"
                " evidence_id = CASE WHEN %s::text IS NOT NULL THEN job_id END WHERE job_id = %s",
                state.value,
                outcome,
                outcome,
                outcome,
                job_id,
            )
            with control():
                assert release_due(limit=10) == 0, state
            assert job(look, job_id)["status"] == state


class TestWhatTheSchedulerSees:
    """The waiting in each tenant's own order, the held slots, and how much each pool may hold."""

    def test_a_job_that_came_back_keeps_its_place(self, control: Control) -> None:
        first, second = admitted(), admitted()
        with control():
            made = dispatched(first)
            recover.unpublished([(first, made.fence)], retry_of=lambda _: Retry())
            assert [each.job_id for each in Driver(slots=9).fill()] == [first, second]

    def test_slots_are_held_from_dispatch_to_the_fences_end_and_no_longer(self, control: Control) -> None:
        one, two = admitted(concurrency_key="k"), admitted(tenant="globex", environment="batch")
        admitted()
        with control():
            assert queries.holding() == []
            dispatched(one)
            run = claimed(two, worker_id=worker())
            assert sorted(each[:5] for each in queries.holding()) == [
                ("batch", "globex", "ops.noop", None, two),
                ("default", "acme", "ops.noop", "k", one),
            ]
            finish(run)
            assert [each[:5] for each in queries.holding()] == [("default", "acme", "ops.noop", "k", one)]

    @pytest.mark.parametrize("workers", [[], [1], [2, 1], [100]], ids=str)
    def test_a_pool_holds_as_many_jobs_as_its_slots_while_anybody_serves_it(
        self, control: Control, workers: list[int]
    ) -> None:
        with control():
            for each in workers:
                worker(capacity=each)
            found = {pool.name: pool for pool in queries.pools()}
            children = flight.children()
        assert found["default"] == Pool(
            name="default",
            capacity=1024 if workers else 0,
            reserved_slots=1,
            queue="ops.default",
            children=sum(workers),
        )
        assert (found["batch"].capacity, found["batch"].children) == (0, 0)
        assert children == {"default": sum(workers), "batch": 0}

    @pytest.mark.parametrize(
        "dying",
        ["state = 'gone'", "state = 'draining'", "lease_until = clock_timestamp() - interval '1 ms'", "role = 'web'"],
    )
    def test_a_worker_that_is_none_any_more_adds_nothing(self, control: Control, change: Change, dying: str) -> None:
        with control():
            worker(capacity=3)
        change(f"UPDATE processes SET {dying}")
        with control():
            assert {pool.capacity for pool in queries.pools()} == {0}

    def test_a_paused_pool_takes_no_work_until_its_pause_is_over(self, control: Control, change: Change) -> None:
        change("UPDATE environments SET paused_until = now() + interval '1 hour' WHERE name = 'batch'")
        with control():
            assert [pool.name for pool in queries.pools()] == ["default"]
        change("UPDATE environments SET paused_until = now() - interval '1 second' WHERE name = 'batch'")
        with control():
            assert [pool.name for pool in queries.pools()] == ["batch", "default"]
