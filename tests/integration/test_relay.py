"""The relay: committed events get their numbers and reach a real stream, in order, at least once, whatever fails."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import redis
from django.conf import settings
from django.db import Error, connection, transaction

from apps.events import operations, queries
from apps.jobs import points
from apps.jobs.lifecycle import Ending
from apps.jobs.operations.dispatch import release_due
from apps.jobs.operations.submit import submit
from apps.tenancy.context import in_tenant
from tests.integration.conftest import Change, Control, Look
from tests.support.work import admitted, claimed, finish, only, submission, worker
from workers.relay import BATCH, LOOK_EVERY_S, STREAM, Relay


@pytest.fixture
def stream(db: None) -> Iterator[redis.Redis]:
    """The suite's own Valkey, its stream empty before and after."""
    with redis.Redis.from_url(settings.ENVIRONMENT.events_url) as client:
        client.delete(STREAM)
        yield client
        client.delete(STREAM)


@pytest.fixture
def relay(db: None) -> Iterator[Relay]:
    made = Relay(url=settings.ENVIRONMENT.events_url)
    yield made
    made._stream.close()


def numbers(look: Look) -> list[int | None]:
    return [row["sequence"] for row in look("SELECT sequence FROM events ORDER BY occurred_at, event_id")]


def delivered(stream: redis.Redis) -> list[dict[str, Any]]:
    entries: Any = stream.xrange(STREAM)
    return [json.loads(fields[b"event"]) for _, fields in entries]


def position(look: Look) -> int:
    rows = look("SELECT position FROM event_consumers WHERE name = %s", STREAM)
    return int(rows[0]["position"]) if rows else 0


class TestNumbering:
    """Only what is committed gets a number, and none is ever followed by a smaller one."""

    def test_goes_in_the_order_in_which_things_became_true(self, look: Look, control: Control) -> None:
        for _ in range(3):
            admitted()
        with control():
            assert operations.number_committed(limit=10) == 3
            assert operations.number_committed(limit=10) == 0
        assert numbers(look) == [1, 2, 3]

    def test_takes_the_oldest_first_and_no_more_than_asked(self, look: Look, control: Control) -> None:
        for _ in range(3):
            admitted()
        with control():
            assert operations.number_committed(limit=2) == 2
            assert numbers(look) == [1, 2, None]
            assert operations.number_committed(limit=2) == 1
        assert numbers(look) == [1, 2, 3]

    def test_an_event_that_is_not_committed_gets_none_and_is_not_skipped_later(
        self, look: Look, control: Control
    ) -> None:
        written, go_on = threading.Event(), threading.Event()

        def slowly() -> None:
            try:
                with in_tenant("acme"):
                    submit(submission(), points=points.in_force())
                    written.set()
                    assert go_on.wait(timeout=10)
            finally:
                connection.close()

        slow = threading.Thread(target=slowly)
        slow.start()
        assert written.wait(timeout=10)
        try:
            admitted()
            with control():
                assert operations.number_committed(limit=10) == 1, "the older event is not committed yet"
        finally:
            go_on.set()
            slow.join()
        with control():
            assert operations.number_committed(limit=10) == 1
        assert numbers(look) == [2, 1], "the one that came late has the larger number, so no reader by cursor misses it"

    def test_an_event_that_was_taken_back_leaves_no_gap(self, look: Look, control: Control) -> None:
        with in_tenant("acme"):
            submit(submission(), points=points.in_force())
            transaction.set_rollback(True)
        admitted()
        with control():
            operations.number_committed(limit=10)
        assert numbers(look) == [1]

    @pytest.mark.parametrize("plan", ["nested loop", "hash"])
    def test_of_two_numberers_at_once_the_second_changes_no_number_that_the_first_gave(
        self, look: Look, control: Control, change: Change, superuser: psycopg.Connection, plan: str
    ) -> None:
        """The plan decides which of the two events the second numberer reaches first: neither order may do harm."""
        admitted()
        (event,) = look("SELECT event_id FROM events")
        failed: list[str] = []

        def second() -> None:
            try:
                with connection.cursor() as cursor:
                    cursor.execute(f"SET enable_nestloop = {plan == 'nested loop'}; SET enable_mergejoin = false")
                operations.number_committed(limit=10)
            except Error as error:
                failed.append(type(error).__name__)
            finally:
                connection.close()

        with control():
            with transaction.atomic():
                assert operations.number_committed(limit=10) == 1
                # An older one is committed late: to the second numberer it comes first.
                change(
                    "INSERT INTO events (event_id, tenant_id, type, subject, data, occurred_at)"
                    " VALUES (gen_random_uuid(), 'acme', 't', 's', '{}', now() - interval '1 hour')"
                )
                other = threading.Thread(target=second)
                other.start()
                wait_until_blocked(superuser)
            other.join()
        assert only(look("SELECT sequence FROM events WHERE event_id = %s", event["event_id"]))["sequence"] == 1
        with control():
            operations.number_committed(limit=10)
        assert numbers(look) == [2, 1]
        assert failed in ([], ["IntegrityError"])

    def test_is_the_loops_work_alone(self, look: Look) -> None:
        admitted()
        with pytest.raises(Error, match="permission denied"):
            operations.number_committed(limit=10)
        assert numbers(look) == [None]


def wait_until_blocked(superuser: psycopg.Connection) -> None:
    """Return once somebody waits for another's lock."""
    for _ in range(1000):
        (waiting,) = superuser.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() or (0,)
        if waiting:
            return
        threading.Event().wait(0.01)  # the one pause of a wait on a condition
    raise AssertionError("nobody waited")


class TestDelivering:
    """The stream holds every event, as the contract spells it, in the order of the numbers."""

    def test_brings_each_event_as_a_cloudevent(
        self, look: Look, stream: redis.Redis, relay: Relay, control: Control
    ) -> None:
        job_id = admitted()
        with control():
            assert relay.step() == LOOK_EVERY_S
        row = only(look("SELECT * FROM events"))
        assert only(delivered(stream)) == {
            "specversion": "1.0",
            "id": str(row["event_id"]),
            "source": "/operations",
            "type": "operations.job.submitted",
            "subject": str(job_id),
            "time": row["occurred_at"].isoformat().replace("+00:00", "Z"),
            "datacontenttype": "application/json",
            "tenantid": "acme",
            "sequence": f"{1:020d}",
            "data": row["data"],
        }
        assert position(look) == 1

    def test_is_in_order_per_subject_and_each_event_comes_once_when_nothing_fails(
        self, look: Look, stream: redis.Redis, relay: Relay, control: Control
    ) -> None:
        ids = [admitted(), admitted(tenant="globex")]
        with control():
            relay.step()
            mine = worker()
            for job_id in ids:
                finish(claimed(job_id, worker_id=mine), Ending.FAILED)
            release_due(limit=9)
            relay.step()
            for job_id in reversed(ids):
                finish(claimed(job_id, worker_id=mine))
            relay.step()
            relay.step()
        found = delivered(stream)
        assert [each["sequence"] for each in found] == sorted(each["sequence"] for each in found)
        assert len({each["id"] for each in found}) == len(found) == len(look("SELECT 1 FROM events")) == 6
        for job_id in ids:
            own = [each["type"] for each in found if each["subject"] == str(job_id)]
            assert own == ["operations.job.submitted", "operations.job.retrying", "operations.job.completed"]

    def test_what_has_no_number_yet_is_not_delivered(self, stream: redis.Redis, relay: Relay, control: Control) -> None:
        admitted()
        with control():
            assert relay.deliver() == 0
        assert delivered(stream) == []

    def test_goes_on_at_once_while_more_than_a_batch_waits(
        self, look: Look, stream: redis.Redis, relay: Relay, control: Control, change: Change
    ) -> None:
        admitted()
        change(
            "INSERT INTO events (event_id, tenant_id, type, subject, data)"
            " SELECT gen_random_uuid(), tenant_id, type, subject, data FROM events, generate_series(1, %s)",
            BATCH,
        )
        with control():
            assert relay.step() == 0.0
            assert relay.step() == LOOK_EVERY_S
        assert stream.xlen(STREAM) == BATCH + 1
        assert position(look) == BATCH + 1


class TestWhatFails:
    """Nothing is lost: what may have been lost comes again, under the id it had."""

    def test_a_crash_between_the_stream_and_the_position_delivers_again_and_goes_on(
        self, look: Look, stream: redis.Redis, relay: Relay, control: Control
    ) -> None:
        first = admitted()
        with control():
            operations.number_committed(limit=10)
            with transaction.atomic():
                # The position is moved, and the process dies before that is committed.
                assert relay.deliver() == 1
                transaction.set_rollback(True)
            assert stream.xlen(STREAM) == 1
            assert position(look) == 0
        second = admitted()
        with control():
            assert Relay(url=settings.ENVIRONMENT.events_url).step() == LOOK_EVERY_S
        found = delivered(stream)
        assert [each["subject"] for each in found] == [str(first), str(first), str(second)]
        assert found[0]["id"] == found[1]["id"], "a consumer knows it by its id"
        assert position(look) == 2

    def test_a_stream_that_is_away_stops_nothing_and_gets_everything_when_it_is_back(
        self, look: Look, stream: redis.Redis, control: Control
    ) -> None:
        relay = Relay(url="redis://127.0.0.1:1/0")
        ids = [str(admitted()), str(admitted())]
        with control():
            assert relay.step() == LOOK_EVERY_S
            assert numbers(look) == [1, 2], "the event log goes on without the stream"
            assert position(look) == 0
            assert relay.deliver() == 0
            assert Relay(url=settings.ENVIRONMENT.events_url).step() == LOOK_EVERY_S
        assert [each["subject"] for each in delivered(stream)] == ids
        assert position(look) == 2

    def test_a_stream_that_is_away_is_left_alone_for_a_pause_that_grows(self, db: None, control: Control) -> None:
        relay, pauses = Relay(url="redis://127.0.0.1:1/0"), []
        admitted()
        with control():
            operations.number_committed(limit=10)
            for _ in range(7):
                relay.deliver()
                pauses.append(relay._pause_s)
        assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]

    def test_while_it_pauses_the_stream_is_not_asked(self, stream: redis.Redis, relay: Relay, control: Control) -> None:
        admitted()
        relay._back_at = float("inf")
        with control():
            assert relay.step() == LOOK_EVERY_S
        assert delivered(stream) == []

    def test_a_stream_that_lost_everything_gets_what_comes_after(
        self, stream: redis.Redis, relay: Relay, control: Control
    ) -> None:
        admitted()
        with control():
            relay.step()
        stream.delete(STREAM)
        after = str(admitted())
        with control():
            relay.step()
        assert [each["subject"] for each in delivered(stream)] == [after]

    def test_a_position_never_goes_back(self, look: Look, control: Control) -> None:
        with control():
            operations.advance(consumer=STREAM, position=7)
            operations.advance(consumer=STREAM, position=3)
            assert queries.position_of(consumer=STREAM) == 7
            assert queries.position_of(consumer="another") == 0


def test_a_tenants_reader_sees_only_its_own_events_by_cursor(control: Control) -> None:
    admitted(tenant="acme")
    theirs = admitted(tenant="globex")
    with control():
        operations.number_committed(limit=10)
    with in_tenant("globex"):
        assert [event.subject for event in queries.after(position=0, limit=10)] == [str(theirs)]
        assert queries.after(position=2, limit=10) == []
