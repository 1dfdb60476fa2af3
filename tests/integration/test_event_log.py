"""The event log read by cursor: bounded, filtered, by whoever may, without a gap between two tenants' looks."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from django.conf import settings

from apps.core import problems
from apps.core.live import Poller
from apps.core.sse import Slots
from apps.events import operations, queries
from apps.tenancy.reading import contexts_of
from tests.integration.conftest import Change, Control
from tests.support.api import Module, fields, refused, said
from tests.support.work import admitted
from workers.relay import STREAM, Relay

EVENTS = "/operations/events"


@pytest.fixture
def reader(db: None) -> Module:
    return Module("acme", "globex", scope="events:read")


def number(control: Control) -> None:
    with control():
        operations.number_committed(limit=100)


def subjects(page: dict[str, Any]) -> list[str]:
    return [each["subject"] for each in page["items"]]


class TestPages:
    """Oldest first, each event once; `next` is always where to go on."""

    @pytest.mark.parametrize("limit", [1, 2, 5, 9])
    def test_hold_the_tenants_events_merged_in_the_logs_order(
        self, reader: Module, control: Control, limit: int
    ) -> None:
        ids = [str(admitted(tenant=tenant)) for tenant in ("acme", "globex", "globex", "acme", "globex")]
        number(control)
        found: list[str] = []
        after = "0"
        while (page := said(reader.get(EVENTS, limit=limit, after=after)))["items"]:
            assert len(page["items"]) <= limit
            found, after = found + subjects(page), page["next"]
        assert found == ids
        assert page["next"] == after

    def test_hold_nothing_that_has_no_number_and_nothing_of_others(self, reader: Module, control: Control) -> None:
        admitted(tenant="sandbox")
        number(control)
        admitted()
        assert said(reader.get(EVENTS)) == {"items": [], "next": "0"}
        platform = Module("*", scope="events:read")
        assert [each["tenantid"] for each in said(platform.get(EVENTS))["items"]] == ["sandbox"]

    def test_latest_is_the_readers_own_latest(self, reader: Module, control: Control) -> None:
        admitted()
        admitted(tenant="sandbox")
        number(control)
        assert said(reader.get(EVENTS, after="latest")) == {"items": [], "next": "1"}

    def test_are_filtered_by_type_subject_and_tenant(self, reader: Module, control: Control) -> None:
        mine, theirs = str(admitted()), str(admitted(tenant="globex"))
        number(control)
        assert subjects(said(reader.get(EVENTS, subject=mine))) == [mine]
        assert subjects(said(reader.get(EVENTS, tenant_id="globex"))) == [theirs]
        assert subjects(said(reader.get(EVENTS, type="operations.job.failed"))) == []
        refused(reader.get(EVENTS, tenant_id="sandbox"), 404, "not_found")

    @pytest.mark.parametrize("after", ["", "x", "-1", "1.0", "²", "9" * 19, "Latest"])
    def test_a_cursor_that_no_answer_said_is_refused(self, reader: Module, after: str) -> None:
        assert fields(refused(reader.get(EVENTS, after=after), 400, "invalid_fields")) == ["after"]

    def test_need_their_scope(self, db: None) -> None:
        refused(Module("acme", scope="jobs:read").get(EVENTS), 403, "missing_scope")

    def test_miss_nothing_that_is_numbered_between_two_tenants_looks(
        self, control: Control, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """acme is read, then an event of acme's and one of globex' are numbered, then globex is read."""
        first = str(admitted())
        number(control)
        upto = queries.head_of_all()
        looked = queries.after

        def look(**asked: Any) -> Any:
            found = looked(**asked)
            if not late:
                late.extend(["acme", "globex"])
            return found

        late: list[str] = []
        monkeypatch.setattr(queries, "after", look)
        contexts = contexts_of

        def contexts_with_a_pause(scope: Any) -> Any:
            for context in contexts(scope):
                if late:
                    admitted(tenant="acme")
                    admitted(tenant="globex")
                    number(control)
                yield context

        monkeypatch.setattr(queries, "contexts_of", contexts_with_a_pause)
        page = queries.page(("acme", "globex"), position=0, upto=upto, limit=10)
        assert [event.subject for event in page] == [first], "globex' later event would carry the cursor past acme's"


class TestSlots:
    """Streams are counted, and nobody has them all."""

    def test_a_caller_has_a_share_and_all_have_a_bound(self) -> None:
        slots = Slots(streams=3, per_caller=2)
        slots.take("a")
        slots.take("a")
        with pytest.raises(problems.TooManyRequests):
            slots.take("a")
        slots.take("b")
        with pytest.raises(problems.Unavailable) as full:
            slots.take("c")
        assert full.value.headers["Retry-After"]
        slots.give_back("a")
        slots.take("c")
        assert slots.held == 3


class TestOneLookForMany:
    """A poller lives while somebody watches, and no longer."""

    def test_it_starts_with_the_first_watcher_and_ends_with_the_last(self, db: None) -> None:
        poller: Poller[str, int] = Poller(lambda keys: dict.fromkeys(keys, 7), name="test")
        with poller.watching("a"), poller.watching("a"):
            assert poller.wait("a", until=lambda mark: mark > 6, timeout_s=5) == 7
            assert poller.wait("a", until=lambda mark: mark > 7, timeout_s=0.01) is None
            assert poller.ask(lambda: 3) == 3
            thread = poller._thread
        assert thread is not None
        thread.join(timeout=5)
        assert not thread.is_alive()
        with poller.watching("a"):
            assert poller.wait("a", until=lambda mark: mark == 7, timeout_s=5) == 7


def test_an_event_that_is_hard_to_encode_holds_up_nobody(control: Control, change: Change) -> None:
    poison, after = str(admitted()), str(admitted())
    change("UPDATE events SET data = '{\"rows\": 123456789012345678901234567890}' WHERE subject = %s", poison)
    with redis.Redis.from_url(settings.ENVIRONMENT.events_url) as stream, control():
        stream.delete(STREAM)
        Relay(url=settings.ENVIRONMENT.events_url).step()
        entries: Any = stream.xrange(STREAM)
        stream.delete(STREAM)
    told = [fields[b"event"].decode() for _, fields in entries]
    assert len(told) == 2
    assert poison in told[0]
    assert "123456789012345678901234567890" in told[0]
    assert after in told[1]
