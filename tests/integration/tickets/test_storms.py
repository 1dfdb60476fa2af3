"""A flood of different failures is one storm, and one ticket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from apps.core.clock import system_now
from apps.core.ids import uuid7
from apps.tickets.lifecycle import Severity
from apps.tickets.operations.opening import Became, report
from apps.tickets.operations.storms import CALM_AFTER, FLOOD
from apps.tickets.trouble import Trouble
from tests.integration.conftest import Change, Control, Look
from tests.integration.tickets.conftest import TICKET, TICKETS, Asked, Opened
from tests.support.api import Module, said

Rows = Callable[[], list[dict[str, Any]]]
Kinds = Callable[[Any], list[str]]


@pytest.fixture
def trouble(control: Control) -> Callable[..., list[Became]]:
    """Return a maker of different failures, reported as the reactor reports them."""
    from django.db import transaction  # noqa: PLC0415 - beside its use

    places = iter(range(1, 1_000_000))

    def make(count: int, *, tenant: str = "acme", module: str = "etl", first: int = 0) -> list[Became]:
        became = []
        with control(), transaction.atomic():
            for n in range(first, first + count):
                found = report(
                    Trouble(
                        tenant_id=tenant,
                        module=module,
                        issue=f"failure {n}",
                        source="job",
                        kind=f"{module}.load",
                        fingerprint=f"{tenant[0]}{module[0]}{n:030}"[:32],
                        job_id=uuid7(),
                        sequence=next(places),
                        at=system_now(),
                    )
                )
                became.append(found.became)
        return became

    return make


def test_a_tenants_flood_becomes_one_ticket_that_counts_the_rest(
    trouble: Callable[..., list[Became]], rows: Rows, kinds: Kinds, acme: Module
) -> None:
    became = trouble(FLOOD + 200)
    assert became == [Became.OPENED] * FLOOD + [Became.ABSORBED] * 200
    *children, storm = rows()
    assert len(children) == FLOOD
    assert (storm["source"], storm["severity"], storm["tenant_id"]) == ("storm", "critical", "acme")
    assert storm["issue"] == f"Storm: {FLOOD} different failures in etl within a minute"
    assert storm["occurrences"] == 201
    assert {row["parent_id"] for row in children} == {storm["id"]}
    assert kinds(children[0]) == ["opened", "joined_storm"]
    grew = kinds(storm).count("storm_grew")
    assert 50 <= grew < 60, "the first fifty are named, then ever fewer"
    whole = said(acme.get(f"{TICKETS}/{storm['id']}"))
    assert len(whole["in_storm"]) == FLOOD


def test_in_a_storm_what_is_open_already_still_counts_for_itself(
    trouble: Callable[..., list[Became]], rows: Rows
) -> None:
    trouble(FLOOD + 1)
    assert trouble(3, first=0) == [Became.REPEATED] * 3
    assert [row["occurrences"] for row in rows()][:4] == [2, 2, 2, 1]


def test_another_tenant_is_not_in_it(trouble: Callable[..., list[Became]]) -> None:
    trouble(FLOOD + 1)
    assert trouble(1, tenant="globex") == [Became.OPENED]


def test_after_ten_calm_minutes_failures_have_tickets_of_their_own_again(
    trouble: Callable[..., list[Became]], rows: Rows, change: Change
) -> None:
    trouble(FLOOD + 5)
    change(
        "UPDATE tickets SET last_seen_at = last_seen_at - %s, opened_at = opened_at - interval '11 minutes'", CALM_AFTER
    )
    assert trouble(1, first=500) == [Became.OPENED]
    assert len(rows()) == FLOOD + 2


def test_the_same_number_over_a_longer_time_is_no_storm(
    trouble: Callable[..., list[Became]], rows: Rows, change: Change
) -> None:
    trouble(FLOOD - 1)
    change("UPDATE tickets SET opened_at = opened_at - interval '61 seconds'")
    assert trouble(FLOOD, first=100) == [Became.OPENED] * FLOOD


def test_a_modules_flood_in_several_tenants_has_one_parent_of_the_platforms_and_tenants_keep_their_tickets(
    trouble: Callable[..., list[Became]], rows: Rows, acme: Module, platform: Module
) -> None:
    half = FLOOD // 2
    trouble(half)
    trouble(half, tenant="globex")
    assert trouble(3, tenant="sandbox") == [Became.OPENED] * 3
    (storm,) = [row for row in rows() if row["source"] == "storm"]
    assert (storm["tenant_id"], storm["module"], storm["occurrences"]) == (None, "etl", 4)
    children = [row for row in rows() if row["parent_id"] == storm["id"]]
    assert len(children) == FLOOD + 3
    shown = said(acme.get(TICKETS))["items"]
    assert len(shown) == half
    assert {each["storm"] for each in shown} == {str(storm["id"])}
    assert said(platform.get(f"{TICKETS}/{storm['id']}"))["tenant_id"] is None


def test_what_people_open_is_never_taken_for_a_flood(opened: Opened, rows: Rows) -> None:
    for n in range(FLOOD + 5):
        opened(f"question {n}")
    assert {row["source"] for row in rows()} == {"module"}


def test_a_module_that_floods_by_its_own_keys_is_a_storm_too(acme: Module, rows: Rows) -> None:
    answers = [acme.post({"issue": f"i {n}", "dedup_key": f"k{n}"}, path=TICKET) for n in range(FLOOD + 2)]
    assert [each.status_code for each in answers] == [201] * FLOOD + [200] * 2
    assert {said(each, 200)["source"] for each in answers[FLOOD:]} == {"storm"}


def test_a_storm_that_was_resolved_comes_back_with_the_next_flood(
    trouble: Callable[..., list[Became]], rows: Rows, asked: Asked, acme: Module
) -> None:
    trouble(FLOOD + 1)
    storm = said(acme.get(TICKETS, source="storm"))["items"][0]
    asked(storm, "resolve")
    assert trouble(1, first=700) == [Became.ABSORBED]
    (row,) = [each for each in rows() if each["source"] == "storm"]
    assert (row["status"], str(row["id"])) == ("open", storm["id"])


def test_an_event_that_is_handed_over_twice_grows_no_storm(control: Control, rows: Rows, look: Look) -> None:
    from django.db import transaction  # noqa: PLC0415 - beside its use

    def say(n: int) -> None:
        with control(), transaction.atomic():
            report(
                Trouble(
                    tenant_id="acme",
                    module="etl",
                    issue="x",
                    source="job",
                    severity=Severity.ERROR,
                    fingerprint=f"{n:032}",
                    sequence=n,
                )
            )

    for n in range(1, FLOOD + 4):
        say(n)
    for n in range(1, FLOOD + 4):
        say(n)
    storm = rows()[-1]
    assert (storm["source"], storm["occurrences"]) == ("storm", 4)
    assert {row["occurrences"] for row in rows()[:-1]} == {1}


def test_who_opens_a_ticket_of_the_platforms_amid_a_modules_flood_has_it(opened: Opened, platform: Module) -> None:
    for n in range(FLOOD // 2):
        for tenant in ("acme", "globex"):
            opened(f"failure {n}", tenant=tenant, module="etl", dedup_key=f"k{n}")
    mine = said(platform.post({"issue": "all feeds", "module": "etl", "dedup_key": "all"}, path=TICKET), 201)
    assert (mine["tenant_id"], mine["issue"]) == (None, "all feeds")
