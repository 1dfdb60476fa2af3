"""What stands beside the jobs, and the pages of an alert and of a ticket."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from apps.core.ids import uuid7
from apps.jobs.lifecycle import Ending
from tests.integration.conftest import Change, Control
from tests.integration.console.conftest import Past, at, page, told_and_ticketed
from tests.support.api import Module, said
from tests.support.work import admitted, claimed, finish, worker

EVERYTHING = "jobs:submit jobs:read health:report tickets:read tickets:write notify:read notify:send"


@pytest.fixture
def module(db: None) -> Module:
    """Acme's module, which may do everything that makes news."""
    return Module("acme", scope=EVERYTHING)


class TestBeside:
    """Alerts, tickets and health, next to the jobs."""

    def test_empty_panels_say_what_would_appear(self, acme: Client) -> None:
        text = page(acme, at("acme"))
        for told in ("No alert.", "No open ticket.", "Nothing reports yet."):
            assert told in text

    def test_tells_of_what_failed_for_good(self, acme: Client, past: Past) -> None:
        text = page(acme, at("acme"))
        assert "ops.fail failed for good" in text
        assert "1 standing" in text
        assert "1 open" in text
        assert "nobody’s yet" in text

    def test_tells_that_somebody_took_a_ticket_on(self, acme: Client, past: Past, module: Module) -> None:
        address = f"/operations/tickets/{past.ticket}"
        version = said(module.get(address))["version"]
        said(module.post({"version": version}, path=f"{address}/start"), 200)
        assert "in progress" in page(acme, at("acme"))

    def test_tells_of_ones_own_components_and_counts_those_that_are_well(
        self, acme: Client, module: Module, change: Change
    ) -> None:
        for name, signal in (("crm", "fail"), ("feed", "success")):
            said(module.post({"module": "acquisition", "component": name, "signal": signal}, path=HEARTBEATS), 202)
        change("UPDATE health_status SET tenant_id = NULL WHERE component = 'feed'")
        text = page(acme, at("acme")).partition('id="health"')[2]
        assert "crm" in text
        assert "degraded" in text
        assert "The other 1 parts of the plane." in text

    def test_hides_what_a_policy_withholds(self, acme: Client, module: Module, change: Change) -> None:
        part = {"module": "acquisition", "component": "crm", "signal": "fail"}
        said(module.post(part, path=HEARTBEATS), 202)
        assert "crm" in page(acme, at("acme"))
        change("UPDATE health_status SET classification = 'restricted' WHERE component = 'crm'")
        change(
            "INSERT INTO policies (policy_id, job_types, reason_code, reason, active, except_tenants)"
            " VALUES ('none', '{health.read.restricted}', 'no', 'no', true, '{}')"
        )
        assert "crm" not in page(acme, at("acme"))

    def test_asks_as_much_for_much_trouble_as_for_little(self, acme: Client, past: Past, control: Control) -> None:
        counts = []
        for more in (0, 6):
            for kind in range(more):
                job_id = admitted("ops.fail", params={"times": 1})
                with control():
                    error = {"class": f"Oops{'abcdef'[kind]}", "code": f"code_{'abcdef'[kind]}"}
                    finish(claimed(job_id, worker_id=worker()), Ending.FAILED, permanent=True, error=error)
            with control():
                told_and_ticketed()
            with CaptureQueriesContext(connection) as asked:
                page(acme, at("acme", "beside"))
            counts.append(len(asked))
        assert counts[0] == counts[1] < 25


HEARTBEATS = "/operations/health/heartbeats"


class TestAnAlert:
    """What is wrong, and who was told."""

    def test_leads_to_its_job_and_says_who_was_told(self, acme: Client, past: Past) -> None:
        text = page(acme, at("acme", f"alerts/{past.alert}"))
        assert at("acme", f"jobs/{past.failed}") in text
        assert "Who was told" in text
        assert "{" not in text.partition("<main")[2]

    def test_renews_itself_while_it_stands(self, acme: Client, past: Past, change: Change) -> None:
        address = at("acme", f"alerts/{past.alert}")
        assert 'hx-trigger="tick from:body"' in page(acme, address)
        change("UPDATE notifications SET resolved = true, resolved_at = now() WHERE id = %s", past.alert)
        assert "hx-get" not in page(acme, address)


class TestATicket:
    """What is wrong, who is at it, and what was different when it began."""

    def test_leads_from_its_job_and_back(self, acme: Client, past: Past) -> None:
        assert at("acme", f"tickets/{past.ticket}") in page(acme, at("acme", f"jobs/{past.failed}"))
        assert at("acme", f"jobs/{past.failed}") in page(acme, at("acme", f"tickets/{past.ticket}"))

    def test_tells_its_log_in_words(self, acme: Client, past: Past, module: Module) -> None:
        address = f"/operations/tickets/{past.ticket}"
        version = said(module.get(address))["version"]
        said(module.post({"version": version, "text": "it <b>rained</b>"}, path=f"{address}/comment"), 200)
        text = page(acme, at("acme", f"tickets/{past.ticket}"))
        assert "<b>The plane</b> opened it" in text
        assert "said: it &lt;b&gt;rained&lt;/b&gt;" in text
        assert "{" not in text.partition("<main")[2]

    def test_that_came_back_is_resolved_no_more(self, acme: Client, module: Module) -> None:
        opened = said(module.post({"issue": "no rows", "description": "since noon"}, path="/operations/ticket"), 201)
        address = f"/operations/tickets/{opened['id']}"
        over = said(module.post({"version": 1, "resolution": "the cable"}, path=f"{address}/resolve"))
        text = page(acme, at("acme", f"tickets/{opened['id']}"))
        assert [each for each in ("How it was resolved", "since noon") if each not in text] == []
        said(module.post({"version": over["version"], "reason": "again"}, path=f"{address}/reopen"))
        text = page(acme, at("acme", f"tickets/{opened['id']}"))
        assert "since noon" in text
        assert "How it was resolved" not in text

    def test_shows_what_people_wrote_as_text(self, acme: Client, module: Module) -> None:
        asked = {"issue": "<script>alert(1)</script>", "description": "<img src=x onerror=alert(2)>"}
        opened = said(module.post(asked, path="/operations/ticket"), 201)
        address = f"/operations/tickets/{opened['id']}/comment"
        said(module.post({"text": "<svg onload=alert(3)> {text} @nobody"}, path=address))
        for text in (page(acme, at("acme", f"tickets/{opened['id']}")), page(acme, at("acme"))):
            assert [raw for raw in ("<script>alert(1)", "<img src=x", "<svg onload") if raw in text] == []

    def test_compares_the_first_bad_run_with_the_last_good_one(self, acme: Client, control: Control) -> None:
        good, bad = admitted("ops.fail", params={"times": 1}), admitted("ops.fail", params={"times": 2})
        with control():
            mine = worker()
            finish(claimed(good, worker_id=mine))
            finish(claimed(bad, worker_id=mine), Ending.FAILED, permanent=True, error={"class": "Oops", "code": "oops"})
            ticket: Any = told_and_ticketed()["ticket of acme"]
        text = page(acme, at("acme", f"tickets/{ticket}"))
        assert "params.times" in text
        assert at("acme", f"jobs/{good}") in text

    def test_of_no_id_is_not_there(self, acme: Client) -> None:
        page(acme, at("acme", f"tickets/{uuid7()}"), code=404)
