"""Admin pages of health: operators see what stands how, pause, agree on terms, declare probes, rehearse recovery."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from apps.tenancy.context import operator_reading
from tests.integration.conftest import Look
from tests.integration.health.conftest import Process, Watch, beat
from tests.support.api import Module, client
from tests.support.openapi import DOCUMENT

TERMS = {
    "kind": "connector",
    "interval_s": "300",
    "grace_s": "60",
    "failure_threshold": "2",
    "success_threshold": "1",
    "expected": "on",
    "depends_on": "operations/broker",
    "max_error_rate": "",
    "max_latency_ms": "",
    "classification": "internal",
    "probe": "{}",
}


@pytest.fixture
def operator(db: None) -> Client:
    """A browser in which an operator has signed in."""
    browser = client(headers={"Accept": "text/html"})
    with operator_reading():
        browser.force_login(get_user_model().objects.create_superuser("signed-in"))
    return browser


def row(look: Look, name: str = "feed") -> dict[str, Any]:
    (found,) = look("SELECT * FROM health_status WHERE component = %s", name)
    return found


def chosen(operator: Client, model: str, action: str, key: Any) -> None:
    """Do a list's action to one row: a form that is posted, since a mere link could be laid anywhere."""
    answer = operator.post(f"/admin/health/{model}/", {"action": action, "_selected_action": [str(key)]})
    assert answer.status_code == 302, answer.content


def test_pages_say_how_everything_stands_and_what_was_done(
    operator: Client, acme: Module, whole: Any, processes: Process, watch: Watch, look: Look
) -> None:
    beat(acme, "feed", signal="fail", reason="no_rows", latency_ms=12)
    processes.die(whole["worker-default"])
    watch(lambda: look("SELECT 1 FROM recovery_receipts WHERE settled_at IS NOT NULL"))
    pages = {
        "/admin/health/component/": ["operations/worker-default", "down", "data-acquisition/feed", "no_rows", "acme"],
        f"/admin/health/component/{row(look)['component_id']}/change/": [
            "degraded",
            "Flips of this component",
            "Pause",
        ],
        "/admin/health/flip/": ["lost", "no_rows"],
        "/admin/health/receipt/": ["reclaim_jobs", "helped"],
        "/admin/health/policy/": ["restart_pool", "operations/queue-*"],
        "/admin/health/minutewindow/": ["data-acquisition/feed"],
        "/admin/health/watch/": ["watcher"],
    }
    for path, words in pages.items():
        answer = operator.get(path)
        assert answer.status_code == 200, path
        assert [word for word in words if word not in answer.content.decode()] == [], path


def test_a_component_is_paused_resumed_and_agreed_on(operator: Client, acme: Module, look: Look) -> None:
    beat(acme, "feed", signal="fail")
    page = f"/admin/health/component/{row(look)['component_id']}"
    chosen(operator, "component", "pause", row(look)["component_id"])
    assert beat(acme, "feed")["status"] == "paused"
    chosen(operator, "component", "resume", row(look)["component_id"])
    assert row(look)["status"] == "new"
    assert operator.post(f"{page}/change/", TERMS).status_code == 302
    found = row(look)
    assert (found["interval_s"], found["failure_threshold"], found["expected"]) == (300, 2, True)
    assert (found["depends_on"], found["declared_by"]) == (["operations/broker"], "operator:signed-in")
    beat(acme, "feed", terms={"interval_s": 5})
    assert row(look)["interval_s"] == 300, "what an operator agreed, an operator changes"


def test_a_probe_is_declared_and_one_that_says_too_little_is_refused(operator: Client, look: Look) -> None:
    named = {**TERMS, "tenant": "acme", "module": "outside", "component": "shop", "kind": "http"}
    answer = operator.post("/admin/health/component/add/", named)
    assert "Named here must be: url" in " ".join(str(error) for each in answer.context["errors"] for error in each)
    endless = operator.post(
        "/admin/health/component/add/", {**named, "probe": '{"url": "https://example.org/"}', "grace_s": "1e300"}
    )
    assert "seconds would be right" in str(endless.context["errors"])
    given = operator.post("/admin/health/component/add/", {**named, "probe": '{"url": "https://example.org/"}'})
    assert given.status_code == 302
    found = row(look, "shop")
    assert (found["tenant_id"], found["probe"], found["region"]) == ("acme", {"url": "https://example.org/"}, "local")
    assert found["probe_due_at"] is not None


def test_a_component_is_forgotten_until_it_is_heard_of_again(operator: Client, acme: Module, look: Look) -> None:
    beat(acme, "feed")
    page = f"/admin/health/component/{row(look)['component_id']}"
    assert operator.post(f"{page}/delete/", {"post": "yes"}).status_code == 403, "its history stays"
    chosen(operator, "component", "forget", row(look)["component_id"])
    assert row(look)["deleted_at"] is not None
    beat(acme, "feed")
    assert row(look)["deleted_at"] is None


def test_a_policy_is_written_and_rehearsed(operator: Client, acme: Module, look: Look, policies: Any) -> None:
    asked = {
        "policy_id": "call-out",
        "pattern": "*/feed",
        "statuses": "down, degraded",
        "reasons": "",
        "after_s": "0",
        "action": "call_webhook",
        "params": '{"url": "https://example.org/"}',
        "cooldown_s": "60",
        "budget_per_hour": "2",
        "patience_s": "60",
        "enabled": "on",
    }
    answer = operator.post("/admin/health/policy/add/", {**asked, "statuses": "up"})
    assert "There is no status that calls for recovery" in str(answer.context["errors"])
    answer = operator.post("/admin/health/policy/add/", {**asked, "patience_s": "1e300"})
    assert "seconds would be right" in str(answer.context["errors"])
    assert operator.post("/admin/health/policy/add/", asked).status_code == 302
    beat(acme, "feed", signal="fail")
    chosen(operator, "policy", "rehearse", "call-out")
    (receipt,) = look("SELECT * FROM recovery_receipts")
    assert (receipt["outcome"], receipt["policy"], receipt["dry_run"]) == ("rehearsed", "by:signed-in", True)
    assert (receipt["tenant_id"], receipt["facts"]["condition_holds"]) == ("acme", True)


def test_the_document_describes_every_address() -> None:
    assert {"/operations/health", "/operations/health/heartbeats", "/operations/health/{module}/{component}"} <= set(
        DOCUMENT["paths"]
    )
