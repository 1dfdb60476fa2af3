"""What others ask of a module's health: how its parts stand, and which of them still report a version."""

from __future__ import annotations

from typing import Any

import pytest

from apps.core.ids import uuid7
from apps.health import queries
from apps.health.models import STATUSES
from tests.integration.conftest import Change, Control

MADE = """
INSERT INTO health_status (component_id, tenant_id, module, component, kind, region, classification, declared_by,
       version, revision, grace_s, failure_threshold, success_threshold, expected, depends_on, status, reason, checks,
       errors, failures, successes, alarms, muted_by, instances, affected_tenants, affected_jobs, deleted_at)
VALUES (%s, %s, %s, %s, 'module', 'local', 'internal', 'test', %s, 0, 30, 3, 1, false, '{}', %s, '', 0, 0, 0, 0, '{}',
       '{}', '{}', 0, 0, %s)
"""


@pytest.fixture
def part(change: Change) -> Any:
    """Return a maker of components."""

    def make(
        component: str, status: str = "up", *, version: str = "1.4", tenant: str | None = None, **more: Any
    ) -> None:
        change(MADE, uuid7(), tenant, more.get("module", "crm"), component, version, status, more.get("deleted"))

    return make


def test_a_modules_parts_are_told_by_name_and_a_tenants_own_by_its_tenant(part: Any, control: Control) -> None:
    part("api", "up")
    part("api", "down", tenant="acme")
    part("feed", "unknown", tenant="globex")
    part("gone", "down", deleted="2030-01-01")
    part("api", "degraded", module="shop")
    with control():
        assert queries.standing_of("crm") == {"api": "up", "api (acme)": "down", "feed (globex)": "unknown"}
        assert queries.standing_of("nobody") == {}


def test_what_is_down_or_paused_and_was_heard_of_lately_lives(part: Any, change: Change, control: Control) -> None:
    for status in ("down", "paused"):
        part(f"beats-{status}", status)
        part(f"silent-{status}", status)
    change("UPDATE health_status SET last_check = clock_timestamp() - interval '1 h' WHERE component LIKE 'silent%%'")
    change("UPDATE health_status SET last_check = clock_timestamp() - interval '1 min' WHERE component LIKE 'beats%%'")
    with control():
        assert queries.reporting("crm") == [("beats-down", "1.4"), ("beats-paused", "1.4")]


def test_whatever_lives_and_last_said_that_version_reports_it(part: Any, control: Control) -> None:
    for status in STATUSES:
        part(f"is-{status}", status)
    part("newer", version="1.5")
    part("mute", version="")
    part("theirs", tenant="acme")
    part("gone", deleted="2030-01-01")
    part("other", module="shop")
    living = [f"is-{status}" for status in STATUSES if status not in {"down", "paused"}]
    with control():
        of_old = [(name, "1.4") for name in [*living, "theirs (acme)"]]
        assert queries.reporting("crm") == sorted([*of_old, ("newer", "1.5")])
        assert queries.reporting("nobody") == []
