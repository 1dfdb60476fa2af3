"""Many at once, each on a connection of its own: one open ticket, one answer to each version."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from django.db import connection, transaction

from apps.tenancy.context import across_tenants
from apps.tickets.operations.opening import Became, report
from apps.tickets.trouble import Trouble
from tests.integration.conftest import Control, Look
from tests.integration.tickets.conftest import TICKET, TICKETS, Asked, Opened
from tests.support.api import Module

Kinds = Callable[[Any], list[str]]


def at_once(*doing: Callable[[], Any]) -> list[Any]:
    """Do all of it at the same moment, on a connection each; return what came of each."""
    found: list[Any] = [None] * len(doing)
    start = threading.Barrier(len(doing))

    def run(place: int) -> None:
        try:
            start.wait(timeout=10)
            found[place] = doing[place]()
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(doing))]
    for each in threads:
        each.start()
    for each in threads:
        each.join(timeout=30)
    return found


def test_of_acknowledgements_that_race_one_wins_and_the_others_are_told_the_version(
    opened: Opened, kinds: Kinds
) -> None:
    modules = [Module("acme", scope="tickets:write") for _ in range(6)]
    for _ in range(3):
        ticket = opened()
        path = f"{TICKETS}/{ticket['id']}/acknowledge"
        answers = at_once(*(lambda m=m, path=path: m.post({"version": 1}, path=path) for m in modules))
        assert Counter(each.status_code for each in answers) == {200: 1, 409: 5}
        assert {each.json()["code"] for each in answers if each.status_code == 409} == {"changed_meanwhile"}
        assert kinds(ticket) == ["opened", "acknowledged"]


def test_an_acknowledgement_that_races_a_resolution_never_undoes_it(opened: Opened, kinds: Kinds, look: Look) -> None:
    acks, resolves = (Module("acme", scope="tickets:write") for _ in range(2))
    for _ in range(5):
        ticket = opened()
        path = f"{TICKETS}/{ticket['id']}"
        answers = at_once(
            partial(acks.post, {"version": 1}, path=f"{path}/acknowledge"),
            partial(resolves.post, {"version": 1}, path=f"{path}/resolve"),
        )
        assert sorted(each.status_code for each in answers) == [200, 409]
        assert len(kinds(ticket)) == 2


def test_failures_that_are_reported_at_once_make_one_ticket_and_none_is_lost(
    control: Control, look: Look, db: None
) -> None:
    def say(n: int) -> Became:
        with across_tenants(), transaction.atomic():
            trouble = Trouble(
                tenant_id="acme", module="etl", issue="x", source="job", fingerprint="f" * 32, links=[("event", str(n))]
            )
            return report(trouble).became

    with control():
        connection.close()
        became = at_once(*(lambda n=n: say(n) for n in range(8)))
    assert Counter(became) == {Became.OPENED: 1, Became.REPEATED: 7}
    (row,) = look("SELECT occurrences FROM tickets")
    assert row["occurrences"] == 8


def test_one_key_that_is_said_at_once_over_http_opens_one_ticket(look: Look, db: None) -> None:
    modules = [Module("acme", scope="tickets:write") for _ in range(6)]
    body = {"issue": "disk", "module": "store", "dedup_key": "disk-7"}
    answers = at_once(*(lambda m=m: m.post(body, path=TICKET) for m in modules))
    assert Counter(each.status_code for each in answers) == {201: 1, 200: 5}
    assert len({each.json()["id"] for each in answers}) == 1
    assert [row["occurrences"] for row in look("SELECT occurrences FROM tickets")] == [6]


def test_two_that_are_merged_into_each_other_at_once_end_with_one_pointer(opened: Opened, look: Look) -> None:
    modules = [Module("acme", scope="tickets:write") for _ in range(2)]
    for _ in range(4):
        one, other = opened(), opened()
        pairs = ((one, other), (other, one))
        answers = at_once(
            *(
                lambda m=m, a=a, b=b: m.post({"version": 1, "into": b["id"]}, path=f"{TICKETS}/{a['id']}/merge")
                for m, (a, b) in zip(modules, pairs, strict=True)
            )
        )
        assert sorted(each.status_code for each in answers) == [200, 400]
        ids = (one["id"], other["id"])
        pointing = look("SELECT 1 FROM tickets WHERE merged_into_id IS NOT NULL AND id IN (%s, %s)", *ids)
        assert len(pointing) == 1


def test_comments_that_race_are_all_kept(opened: Opened, asked: Asked, kinds: Kinds) -> None:
    ticket = opened()
    modules = [Module("acme", scope="tickets:write") for _ in range(5)]
    path = f"{TICKETS}/{ticket['id']}/comment"
    answers = at_once(*(lambda m=m: m.post({"text": "me too", "version": 1}, path=path) for m in modules))
    assert {each.status_code for each in answers} == {200}
    assert Counter(kinds(ticket)) == {"opened": 1, "commented": 5}
