"""The reactor: each reaction hears its events in order, writes and moves on in one, and blocks no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.db.models import Q

from apps.events import operations
from apps.events.models import Event
from apps.events.reacting import PAUSES_S, interested, pause_after
from tests.integration.conftest import Change, Control, Look
from tests.support.work import admitted
from workers.reactor import LOOK_EVERY_S, Reactor, consumers

HERE = "tests.integration.test_reactor"
SUBMITTED = "operations.job.submitted"
heard: list[str] = []
refused: dict[str, Callable[[], Exception]] = {}
wanted: dict[str, Any] = {}


def note(event: Event) -> None:
    """Write down what it hears, in the database and here."""
    operations.advance(consumer=event.subject, position=1)
    heard.append(event.subject)
    if event.subject in refused:
        raise refused[event.subject]()


def take_too_long() -> Exception:
    """Be cancelled by PostgreSQL."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = '20ms'; SELECT pg_sleep(20)")
    return AssertionError("nobody cancelled it")


@interested(lambda _position, _upto: Q(**wanted) if wanted else None)
def choose(event: Event) -> None:
    """Hear what it wants."""
    heard.append(event.subject)


def listen(event: Event) -> None:
    """Hear, and do nothing."""


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    heard.clear()
    refused.clear()
    wanted.clear()
    yield
    heard.clear()
    refused.clear()
    wanted.clear()


@pytest.fixture
def reactor(db: None, control: Control) -> Reactor:
    made = Reactor(reactions={SUBMITTED: (f"{HERE}.note", f"{HERE}.listen")})
    with control():
        made.step()
    return made


def positions(look: Look) -> dict[str, int]:
    rows = look("SELECT name, position FROM event_consumers WHERE name LIKE 'reaction:tests.%%'")
    return {row["name"].rpartition(".")[2]: row["position"] for row in rows}


def numbered(control: Control, *, count: int = 1) -> list[str]:
    """Admit jobs, one after the other; return the subjects of their numbered events."""
    subjects = [str(admitted()) for _ in range(count)]
    with control():
        operations.number_committed(limit=count)
    return subjects


def kept(look: Look) -> list[dict[str, Any]]:
    return look("SELECT reaction, tries, error_class, error_at, tenant_id, event_id, again_at FROM failed_reactions")


class TestHearing:
    """What is wired is heard, once and in order, from the moment the reaction is there."""

    def test_each_event_is_heard_in_the_order_of_the_log(self, reactor: Reactor, control: Control, look: Look) -> None:
        subjects = numbered(control, count=3)
        with control():
            assert reactor.step() == LOOK_EVERY_S
            reactor.step()
        assert heard == subjects
        assert positions(look) == {"note": 3, "listen": 3}

    def test_what_was_over_before_a_reaction_came_is_no_news(self, control: Control, look: Look) -> None:
        numbered(control)
        with control():
            Reactor(reactions={SUBMITTED: (f"{HERE}.note",)}).step()
        assert heard == []
        later = numbered(control)
        with control():
            Reactor(reactions={SUBMITTED: (f"{HERE}.note",)}).step()
        assert heard == later

    def test_events_of_other_types_are_passed_by(self, control: Control, look: Look) -> None:
        other = Reactor(reactions={"operations.job.failed": (f"{HERE}.note",)})
        with control():
            other.step()
        numbered(control, count=2)
        with control():
            other.step()
        assert heard == []
        assert positions(look) == {"note": 2}

    def test_names_of_followers_fit_their_column(self) -> None:
        assert consumers({SUBMITTED: (f"{HERE}.note",)}) == [f"reaction:{HERE}.note"]


class TestInterest:
    """A reaction that seldom cares is not handed what it does not want."""

    def test_it_is_asked_once_for_many_events_and_gets_those_it_wants(self, control: Control, look: Look) -> None:
        choosy = Reactor(reactions={SUBMITTED: (f"{HERE}.choose",)})
        with control():
            choosy.step()
        subjects = numbered(control, count=3)
        wanted.update({"subject__in": [subjects[1]]})
        with control():
            choosy.step()
        assert heard == [subjects[1]]
        assert positions(look) == {"choose": 3}

    def test_while_it_wants_nothing_it_keeps_up_with_the_log(self, control: Control, look: Look) -> None:
        choosy = Reactor(reactions={SUBMITTED: (f"{HERE}.choose",)})
        with control():
            choosy.step()
        numbered(control, count=2)
        with control():
            choosy.step()
        assert heard == []
        assert positions(look) == {"choose": 2}


class TestFailing:
    """A reaction that fails writes nothing, is tried again, and at last set aside; the others go on."""

    def test_what_it_wrote_is_taken_back_and_the_others_go_on(
        self, reactor: Reactor, control: Control, look: Look
    ) -> None:
        (subject,) = numbered(control)
        refused[subject] = lambda: ValueError("quotes somebody's data")
        with control():
            reactor.step()
        assert look("SELECT 1 FROM event_consumers WHERE name = %s", subject) == []
        assert positions(look) == {"note": 0, "listen": 1}
        assert kept(look) == []

    def test_it_goes_on_where_it_stood_when_the_cause_is_gone(
        self, reactor: Reactor, control: Control, look: Look
    ) -> None:
        first, second, third = numbered(control, count=3)
        refused[second] = ValueError
        with control():
            reactor.step()
            assert positions(look)["note"] == 1
            refused.clear()
            self.pass_the_pause(reactor)
            reactor.step()
        assert positions(look)["note"] == 3
        assert len(look("SELECT 1 FROM event_consumers WHERE name = ANY(%s)", [first, second, third])) == 3

    def test_what_fails_for_good_is_set_aside_and_told_without_its_words(
        self, reactor: Reactor, control: Control, look: Look
    ) -> None:
        bad, good = numbered(control, count=2)
        refused[bad] = lambda: ValueError("quotes somebody's data")
        with control():
            for _ in range(len(PAUSES_S) + 1):
                self.pass_the_pause(reactor)
                reactor.step()
        (row,) = kept(look)
        assert (row["reaction"], row["tries"], row["error_class"]) == (f"{HERE}.note", len(PAUSES_S) + 1, "ValueError")
        assert row["error_at"].startswith("test_reactor.py:")
        assert row["tenant_id"] == "acme"
        assert "quotes" not in str(row)
        assert positions(look)["note"] == 2
        assert heard[-1] == good

    def test_what_was_set_aside_is_tried_again_when_somebody_asks(
        self, reactor: Reactor, control: Control, look: Look, change: Change
    ) -> None:
        (bad,) = numbered(control)
        refused[bad] = ValueError
        with control():
            for _ in range(len(PAUSES_S) + 1):
                self.pass_the_pause(reactor)
                reactor.step()
            change("UPDATE failed_reactions SET again_at = now()")
            reactor.step()
            (row,) = kept(look)
            assert (row["tries"], row["again_at"]) == (len(PAUSES_S) + 2, None), "it failed again"
            refused.clear()
            change("UPDATE failed_reactions SET again_at = now()")
            reactor.step()
        assert kept(look) == []
        assert len(look("SELECT 1 FROM event_consumers WHERE name = %s", bad)) == 1

    def test_a_database_that_is_away_is_not_the_reactions_fault(
        self, reactor: Reactor, control: Control, look: Look
    ) -> None:
        (subject,) = numbered(control)
        refused[subject] = lambda: OperationalError("the connection is lost")
        with control():
            with pytest.raises(OperationalError):
                reactor.step()
            refused.clear()
            reactor.step()
        assert positions(look)["note"] == 1

    def test_a_deadlock_or_a_statement_that_takes_too_long_is_the_reactions_own_and_the_others_go_on(
        self, reactor: Reactor, control: Control, look: Look
    ) -> None:
        bad, good = numbered(control, count=2)
        refused[bad] = take_too_long
        with control():
            for _ in range(len(PAUSES_S) + 1):
                self.pass_the_pause(reactor)
                reactor.step()
        assert [row["error_class"] for row in kept(look)] == ["OperationalError"]
        assert positions(look) == {"note": 2, "listen": 2}
        assert heard[-1] == good

    @staticmethod
    def pass_the_pause(reactor: Reactor) -> None:
        for each in reactor.reactions.values():
            each.not_before = 0.0

    def test_patience_ends(self) -> None:
        assert [pause_after(count) for count in range(1, 6)] == [*PAUSES_S, None]
