"""Merging by a pointer that can be taken back, and who is counted meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from apps.core.ids import uuid7
from tests.integration.conftest import Look
from tests.integration.tickets.conftest import ERROR, TICKETS, Asked, Opened, Ran
from tests.integration.tickets.test_races import at_once
from tests.support.api import Module, fields, refused, said

React = Callable[[], None]
Rows = Callable[[], list[dict[str, Any]]]
Kinds = Callable[[Any], list[str]]
Read = Callable[[Any], dict[str, Any]]


def test_a_merged_ticket_is_closed_and_points_and_stands_where_it_stood_when_taken_out(
    opened: Opened, asked: Asked, read: Read, kinds: Kinds, look: Look
) -> None:
    main, double = opened("the feed is empty"), opened("no rows today")
    double = asked(asked(double, "acknowledge"), "wait", reason="the supplier")
    merged = asked(double, "merge", into=main["id"])
    assert (merged["status"], merged["merged_into"]) == ("closed", main["id"])
    assert merged["closed_at"] is not None
    assert read(main)["merged"] == [double["id"]]
    back = asked(merged, "merge", into=None)
    assert (back["status"], back["merged_into"], back["closed_at"]) == ("waiting", None, None)
    assert kinds(double)[-2:] == ["merged", "unmerged"]
    assert kinds(main) == ["opened", "absorbed", "released"]
    assert read(main)["merged"] == []
    told = look("SELECT type FROM events WHERE subject = %s ORDER BY occurred_at", double["id"])
    assert [each["type"].rpartition(".")[2] for each in told][-2:] == ["merged", "unmerged"]


def test_of_a_merged_ticket_nothing_else_is_asked(opened: Opened, asked: Asked, acme: Module) -> None:
    main, double = opened(), opened()
    merged = asked(double, "merge", into=main["id"])
    for command in ("reopen", "start", "resolve", "close"):
        answer = acme.post({"version": merged["version"]}, path=f"{TICKETS}/{double['id']}/{command}")
        assert "merged" in refused(answer, 409, "illegal_move")["detail"]
    assert asked(merged, "comment", text="see the other one")["status"] == "closed"


def test_a_target_must_be_open_another_one_and_of_the_same_tenant(
    opened: Opened, asked: Asked, acme: Module, kinds: Kinds
) -> None:
    one, over, theirs = opened(), asked(opened(), "resolve"), opened(tenant="globex")
    for target in (one["id"], over["id"], theirs["id"], str(uuid7())):
        answer = acme.post({"version": 1, "into": target}, path=f"{TICKETS}/{one['id']}/merge")
        assert fields(refused(answer, 400, "invalid_fields")) == ["into"]
    assert kinds(one) == kinds(theirs) == ["opened"]


def test_two_that_are_merged_into_each_other_end_with_one_pointer(opened: Opened, asked: Asked, acme: Module) -> None:
    one, other = opened(), opened()
    asked(one, "merge", into=other["id"])
    answer = acme.post({"version": 1, "into": one["id"]}, path=f"{TICKETS}/{other['id']}/merge")
    assert fields(refused(answer, 400, "invalid_fields")) == ["into"]


def test_what_repeats_is_counted_where_the_pointers_lead(
    ran: Ran, react: React, rows: Rows, opened: Opened, asked: Asked, read: Read, reactor: Any
) -> None:
    ran(fails=ERROR)
    react()
    (double,) = rows()
    main, last = opened("the feed is empty"), opened("the supplier is away")
    asked(read(str(double["id"])), "merge", into=main["id"])
    asked(read(main), "merge", into=last["id"])
    ran(fails=ERROR, times=2)
    react()
    found = {str(row["id"]): (row["status"], row["occurrences"]) for row in rows()}
    assert found == {str(double["id"]): ("closed", 1), main["id"]: ("closed", 1), last["id"]: ("open", 3)}


def test_taken_out_it_counts_for_itself_again(
    ran: Ran, react: React, rows: Rows, opened: Opened, asked: Asked, read: Read, reactor: Any
) -> None:
    ran(fails=ERROR)
    react()
    double, main = read(str(rows()[0]["id"])), opened()
    asked(asked(double, "merge", into=main["id"]), "merge", into=None)
    ran(fails=ERROR)
    react()
    assert (read(double)["occurrences"], read(main)["occurrences"]) == (2, 1)


def test_what_its_pointer_leads_to_comes_back_with_its_failure(
    ran: Ran, react: React, rows: Rows, opened: Opened, asked: Asked, read: Read, reactor: Any
) -> None:
    ran(fails=ERROR)
    react()
    double, main = read(str(rows()[0]["id"])), opened()
    asked(double, "merge", into=main["id"])
    asked(read(main), "resolve")
    ran(fails=ERROR)
    react()
    assert (read(double)["status"], read(main)["status"], read(main)["occurrences"]) == ("closed", "open", 2)


def test_it_cannot_be_taken_out_while_its_failure_has_another_open_ticket(
    opened: Opened, asked: Asked, acme: Module, look: Look, change: Any
) -> None:
    first, main = opened(module="m", dedup_key="k"), opened()
    merged = asked(first, "merge", into=main["id"])
    change("UPDATE tickets SET fingerprint = (SELECT fingerprint FROM tickets WHERE id = %s) WHERE id = %s",
           first["id"], main["id"])  # fmt: skip
    answer = acme.post({"version": merged["version"], "into": None}, path=f"{TICKETS}/{first['id']}/merge")
    assert refused(answer, 409, "already_open")["ticket_id"] == main["id"]


def test_whoever_watched_the_merged_one_watches_the_other(opened: Opened, asked: Asked, read: Read) -> None:
    main, double = opened(), opened(assignee="ada")
    asked(double, "merge", into=main["id"])
    assert read(main)["watchers"] == ["ada"]


def test_resolving_the_other_resolves_the_alerts_of_both(
    ran: Ran, react: React, rows: Rows, opened: Opened, asked: Asked, read: Read, look: Look, control: Any, reactor: Any
) -> None:
    from apps.jobs.fingerprint import dedup_key  # noqa: PLC0415 - beside its use
    from apps.notifications.operations import notify  # noqa: PLC0415

    ran(fails=ERROR)
    react()
    (row,) = rows()
    with control():
        told: dict[str, Any] = {
            "severity": "error",
            "category": "alert",
            "source": "ops",
            "summary": "it failed",
            "by": "jobs",
        }
        notify(tenant_id="acme", action="trigger", dedup_key=dedup_key(row["fingerprint"]), **told)
    main = opened()
    asked(read(str(row["id"])), "merge", into=main["id"])
    asked(read(main), "resolve")
    react()
    assert [each["resolved"] for each in look("SELECT resolved FROM notifications WHERE category = 'alert'")] == [True]


def test_once_merged_nobody_is_called_about_it(
    opened: Opened, asked: Asked, ago: Callable[..., None], clerk: React, react: React, look: Look, reactor: Any
) -> None:
    main, double = opened(), opened()
    ago(double, seconds=901)
    clerk()
    react()
    asked(double, "merge", into=main["id"])
    react()
    alerts = look("SELECT resolved FROM notifications WHERE category = 'alert' AND dedup_key LIKE '%%escalation%%'")
    assert [each["resolved"] for each in alerts] == [True]


def test_a_list_of_what_is_open_leaves_the_merged_out(opened: Opened, asked: Asked, acme: Module) -> None:
    main, double = opened(), opened()
    asked(double, "merge", into=main["id"])
    assert [each["id"] for each in said(acme.get(TICKETS, open="true"))["items"]] == [main["id"]]


def test_what_speaks_for_a_chain_of_merged_tickets_ends_the_alerts_of_all_of_them(
    ran: Ran, react: React, rows: Rows, opened: Opened, asked: Asked, read: Read, reactor: Any, look: Look
) -> None:
    ran(fails=ERROR)
    react()
    (double,) = rows()
    main, last = opened("the feed is empty"), opened("the supplier is away")
    asked(read(str(double["id"])), "merge", into=main["id"])
    asked(read(main), "merge", into=last["id"])
    asked(read(last), "resolve")
    react()
    key = f"job:{double['fingerprint']}"
    assert [each["resolved"] for each in look("SELECT resolved FROM notifications WHERE dedup_key = %s", key)] == [True]


def test_a_merge_and_its_undoing_that_meet_do_not_deadlock(opened: Opened) -> None:
    modules = [Module("acme", scope="tickets:write") for _ in range(2)]
    for _ in range(10):
        older, newer = opened()["id"], opened()["id"]
        said(modules[0].post({"version": 1, "into": older}, path=f"{TICKETS}/{newer}/merge"))
        undone = partial(modules[0].post, {"version": 2, "into": None}, path=f"{TICKETS}/{newer}/merge")
        merged = partial(modules[1].post, {"version": 1, "into": newer}, path=f"{TICKETS}/{older}/merge")
        answers = at_once(undone, merged)
        assert {each.status_code for each in answers} <= {200, 400}, [each.content for each in answers]
