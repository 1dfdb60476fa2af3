"""What the house does about a migration that stalls, stops itself or is over: an alert, one ticket, and counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import pytest
from django.db import transaction

from apps.core import metrics
from apps.events.operations import number_committed
from apps.migrations import events
from apps.migrations.definition import OnFailure
from apps.migrations.models import Target
from apps.migrations.operations import moving, planning, targets
from apps.migrations.operations.writing import hold
from opsplatform import wiring
from tests.integration.conftest import Control, Look
from tests.integration.migrations.api.conftest import Laid
from tests.support import campaigns
from tests.support.api import Module, said
from tests.support.campaigns import MIGRATIONS
from workers.migrations.figures import Figures
from workers.reactor import Reactor

React = Callable[[], None]
Row = dict[str, Any]
ALERTS = "SELECT * FROM notifications ORDER BY id"
TICKETS = "SELECT * FROM tickets ORDER BY id"


@pytest.fixture
def react(db: None, control: Control, look: Look) -> React:
    """Return a way to let the house react to what was told, until nothing is left; nothing may fail."""
    reactor = Reactor(reactions=wiring.REACTIONS)
    with control():
        reactor.step()

    def until_quiet() -> None:
        with control():
            while number_committed(limit=1000) or reactor.step() == 0.0:
                pass
        assert look("SELECT * FROM failed_reactions") == []
        assert [each.path for each in reactor.reactions.values() if each.failures] == []

    return until_quiet


@pytest.fixture
def under_way(react: React, running: Laid, control: Control) -> Callable[..., Row]:
    """Return a maker of migrations whose first wave is under way."""

    def make(*waves: list[str]) -> Row:
        row = running(*waves)
        with control():
            moving.begin_wave(UUID(row["id"]), number=0, facts={})
        return row

    return make


def stall(control: Control, row: Row, *, target: str = "acme") -> None:
    """Tell that a step stalled, and pause, as the migrator does."""
    says: dict[str, Any] = {
        "target": target, "step": "fill_region", "job_id": row["id"], "done": 7, "total": 9, "severity": "error",
    }  # fmt: skip
    tells: list[tuple[str, Mapping[str, Any]]] = [(events.STALLED, says)]
    with control(), transaction.atomic():
        held = hold(UUID(row["id"]))
        moving.halt(held, code="stalled", then=OnFailure.PAUSE, why="no further", wave=0, tells=tells, facts={})


def test_a_stall_is_one_alert_and_one_ticket_that_name_no_target(
    under_way: Callable[..., Row], control: Control, react: React, look: Look
) -> None:
    row = under_way(["globex"], ["acme"])
    stall(control, row, target="globex")
    react()
    (alert,) = look(ALERTS)
    assert (alert["severity"], alert["source"], alert["tenant_id"]) == ("error", "crm", "acme")
    assert alert["summary"] == "crm 1.4 → 1.5 makes no progress at fill_region"
    assert (alert["repeats"], alert["links"]) == (0, {"migration": f"{MIGRATIONS}/{row['id']}"})
    (ticket,) = look(TICKETS)
    assert (ticket["issue"], ticket["source"], ticket["occurrences"]) == (alert["summary"], "migration", 1)
    assert look("SELECT ref FROM ticket_links WHERE kind = 'migration'") == [{"ref": row["id"]}]
    assert "retry" in alert["details"]["next"]
    assert ticket["about"]["next"] == alert["details"]["next"], "both say what to do"
    assert "globex" not in str(look(ALERTS)) + str(look(TICKETS)), "its account's people may not know who else there is"


def test_whoever_lets_it_go_on_is_told_no_more_and_its_end_resolves_the_ticket(
    under_way: Callable[..., Row], control: Control, react: React, look: Look, platform: Module
) -> None:
    row = under_way()
    stall(control, row)
    react()
    said(platform.post({}, path=f"{MIGRATIONS}/{row['id']}/resume"), 202)
    react()
    assert [each["resolved"] for each in look(ALERTS)] == [True]
    assert [each["status"] for each in look(TICKETS)] == ["open"], "it is not over"
    with control():
        Target.objects.filter(migration_id=row["id"]).update(state="upgraded")
        moving.complete(UUID(row["id"]))
    react()
    (ticket,) = look(TICKETS)
    assert (ticket["status"], ticket["resolution"]) == ("resolved", "The migration is over: it completed.")
    assert ticket["evidence_id"] is not None
    react()
    assert [each["kind"] for each in look("SELECT kind FROM ticket_entries ORDER BY at, id")].count(
        "auto_resolved"
    ) == 1


def test_a_failed_wave_that_goes_back_is_one_trouble_and_its_return_is_the_end_of_it(
    under_way: Callable[..., Row], control: Control, react: React, look: Look
) -> None:
    row = under_way()
    with control():
        moving.fail_wave(UUID(row["id"]), number=0, code="gate_failed", then=OnFailure.REVERT, gate="no_orphans")
    react()
    (alert,) = look(ALERTS)
    assert alert["summary"] == "crm 1.4 → 1.5 is being brought back: gate failed"
    assert [(each["occurrences"], each["status"]) for each in look(TICKETS)] == [(1, "open")]
    with control():
        moving.come_back(UUID(row["id"]), stuck=0)
    react()
    assert [each["resolved"] for each in look(ALERTS)] == [True]
    (ticket,) = look(TICKETS)
    assert (ticket["status"], ticket["resolution"]) == (
        "resolved", "The migration is over: every target is back at its version.",
    )  # fmt: skip


def test_one_wave_that_came_back_is_told_once(
    under_way: Callable[..., Row], control: Control, react: React, look: Look
) -> None:
    row = under_way(["acme"], ["globex"])
    with control():
        moving.fail_wave(UUID(row["id"]), number=0, code="gate_failed", then=OnFailure.REVERT_WAVE, gate="x")
        moving.come_back(UUID(row["id"]), stuck=0)
    react()
    assert [(each["repeats"], each["resolved"]) for each in look(ALERTS)] == [(0, False)]
    assert [each["occurrences"] for each in look(TICKETS)] == [1]


def test_what_could_not_be_brought_back_is_critical(
    under_way: Callable[..., Row], control: Control, react: React, look: Look, platform: Module
) -> None:
    row = under_way()
    said(platform.post({}, path=f"{MIGRATIONS}/{row['id']}/revert"), 202)
    with control():
        moving.come_back(UUID(row["id"]), stuck=1)
    react()
    assert [(each["severity"], each["summary"]) for each in look(ALERTS)] == [
        ("critical", "crm 1.4 → 1.5 failed: revert failed")
    ]
    assert [each["severity"] for each in look(TICKETS)] == ["critical"]


def test_a_question_is_an_alert_and_no_ticket(
    under_way: Callable[..., Row], control: Control, react: React, look: Look
) -> None:
    row = under_way()
    with control():
        moving.doubt(UUID(row["id"]), code="few_jobs", why="too few to tell", facts={})
    react()
    assert [(each["severity"], each["summary"]) for each in look(ALERTS)] == [
        ("warning", "crm 1.4 → 1.5 waits for a person's verdict: few jobs")
    ]
    assert look(TICKETS) == []


def test_what_a_person_asked_for_is_nobodys_trouble(
    under_way: Callable[..., Row], control: Control, react: React, look: Look, platform: Module
) -> None:
    row = under_way()
    for command in ("pause", "resume", "abort"):
        said(platform.post({}, path=f"{MIGRATIONS}/{row['id']}/{command}"), 202)
    with control():
        moving.abandon(UUID(row["id"]))
    react()
    assert (look(ALERTS), look(TICKETS)) == ([], [])


def test_giving_up_ends_the_alert_and_leaves_the_ticket(
    under_way: Callable[..., Row], control: Control, react: React, look: Look, platform: Module
) -> None:
    row = under_way()
    stall(control, row)
    react()
    said(platform.post({}, path=f"{MIGRATIONS}/{row['id']}/abort"), 202)
    react()
    assert [each["resolved"] for each in look(ALERTS)] == [True]
    assert [each["status"] for each in look(TICKETS)] == ["open"]


def test_a_plan_that_cannot_be_is_told_as_a_thing_that_happened(
    react: React, acme: Module, control: Control, look: Look
) -> None:
    row = campaigns.asked(acme)
    with control():
        planning.refuse(migration_id=UUID(row["id"]), code="no_targets", why="every target was set aside")
    react()
    assert [(each["category"], each["severity"], each["summary"]) for each in look(ALERTS)] == [
        ("event", "warning", "crm 1.4 → 1.5 was not begun: no targets")
    ]
    assert look(TICKETS) == []


def test_a_tenant_is_told_of_its_own_target_and_when_it_is_well_again(
    under_way: Callable[..., Row], control: Control, react: React, look: Look
) -> None:
    row = under_way(["globex"], ["acme"])
    with control():
        Target.objects.filter(migration_id=row["id"]).update(state="running")
        for each in Target.objects.filter(migration_id=row["id"]):
            targets.failed(each.target_id, back=False, code="23514", why="a check failed")
    react()
    (alert,) = look(ALERTS)
    assert (alert["tenant_id"], alert["summary"]) == ("globex", "crm 1.4 → 1.5 failed: 23514")
    with control():
        Target.objects.filter(migration_id=row["id"]).update(state="verifying")
        for each in Target.objects.filter(migration_id=row["id"]):
            targets.verified(each.target_id, back=False, version="1.5", digest=None)
    react()
    assert [each["resolved"] for each in look(ALERTS)] == [True]


def test_an_event_that_is_handed_over_twice_is_told_once(
    under_way: Callable[..., Row], control: Control, react: React, look: Look, change: Any
) -> None:
    stall(control, under_way())
    react()
    change("UPDATE event_consumers SET position = 0 WHERE name LIKE 'reaction:%%'")
    react()
    assert [each["repeats"] for each in look(ALERTS)] == [0]
    assert [each["occurrences"] for each in look(TICKETS)] == [1]


def test_statuses_are_counted_and_the_figures_are_the_rows(
    under_way: Callable[..., Row], control: Control, react: React
) -> None:
    def value(name: str, **labels: str) -> float:
        return metrics._registry.get_sample_value(name, labels) or 0.0

    started = value("operations_migrations_total", module="crm", status="running")
    row = under_way()
    react()
    assert value("operations_migrations_total", module="crm", status="running") == started + 1
    with control():
        Target.objects.filter(migration_id=row["id"]).update(state="upgraded")
        Figures().tell()
    assert value("operations_migration_targets", state="upgraded") == 1
    ended = value("operations_migration_duration_seconds_count", module="crm", outcome="succeeded")
    with control():
        moving.complete(UUID(row["id"]))
        Figures().tell()
    react()
    assert value("operations_migration_duration_seconds_count", module="crm", outcome="succeeded") == ended + 1
    assert value("operations_migration_targets", state="upgraded") == 0
