"""A person approves a migration's plan in a browser, and whoever asked for it cannot."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from apps.core.ids import uuid7
from opsplatform.plane import Plane
from tests.browser.conftest import SignedIn
from tests.support.campaigns import CHECKSUM, document
from tests.support.client import Truth, wait_for

APPROVALS = "SELECT approver, note FROM migration_approvals WHERE migration_id = %s"
# Two have to agree, so that one who does starts nothing that has nobody to migrate.
INSERT = """
INSERT INTO migrations (id, tenant_id, name, module, version_from, version_to, description, definition_checksum, status,
    version, progress, asked, dry_run, drill, plan, plan_checksum, planning_tries, risk, approvals_needed, stage,
    stopped_s, requested_by, requested_at)
VALUES (%s, 'acme', 'crm', 'crm', '1.4', '1.5', 'Customers get a region', %s, 'awaiting_approval', 2, 0, '{}', false,
    false, %s, %s, 1, 'high', 2, 'forward', 0, 'operator', clock_timestamp())
"""


@pytest.fixture
def migration_id(truth: Truth) -> Iterator[str]:
    """A migration that the operator asked for, with a plan that awaits approval."""
    made = str(uuid7())
    truth.execute(INSERT, made, CHECKSUM, json.dumps(document([["acme"]])), CHECKSUM)
    yield made
    truth.execute("UPDATE migrations SET status = 'failed' WHERE id = %s AND status = 'awaiting_approval'", made)


def test_a_person_reads_the_plan_and_approves_it(
    signed_in: SignedIn, plane: Plane, truth: Truth, migration_id: str
) -> None:
    page = signed_in("approver", width=1400)
    page.goto(f"{plane.url}/admin/migrations/migration/{migration_id}/change/")
    shown = page.text("#ops-migration")
    for words in ("2 needed, by other people than operator", "Nobody has agreed yet", "add_region", "tenant_acme"):
        assert words in shown, words
    page.click("#ask-approve")
    page.until("document.querySelector('#ask')", what="the question")
    assert CHECKSUM in page.text("#ask")
    page.click("#ask textarea")
    page.type("read it twice")
    page.click("#ask button[type=submit]")
    page.until("document.querySelector('#ops-migration')?.innerText.includes('read it twice')", what="the approval")
    assert "Approve: done." in page.text("body")
    assert truth.rows(APPROVALS, migration_id) == [{"approver": "approver", "note": "read it twice"}]
    truth.execute("UPDATE migrations SET progress = 0.42 WHERE id = %s", migration_id)
    page.until("document.querySelector('#ops-migration').innerText.includes('42 %')", what="news without a reload")
    assert page.complaints() == []


def test_whoever_asked_for_it_cannot_and_may_give_it_up(
    signed_in: SignedIn, plane: Plane, truth: Truth, migration_id: str
) -> None:
    page, address = signed_in("operator", width=1400), f"{plane.url}/admin/migrations/migration/{migration_id}"
    page.goto(f"{address}/change/")
    assert page.evaluate("document.querySelector('#ask-approve')") is None
    assert "another person has to approve it" in page.text("#ops-migration")
    page.goto(f"{address}/ask/approve/")  # the page is not the wall
    page.click("#ask button[type=submit]")
    page.until("document.body?.innerText.includes('cannot approve it')", what="the refusal")
    assert truth.rows(APPROVALS, migration_id) == []
    page.click("#ask-abort")
    page.until("document.querySelector('#ask')", what="the question")
    page.click("#ask textarea")
    page.type("another time")
    page.click("#ask button[type=submit]")
    page.until("document.body?.innerText.includes('Abort: done.')", what="its answer")
    status = "SELECT status FROM migrations WHERE id = %s"
    wait_for(lambda: truth.one(status, migration_id)["status"] == "failed", what="it is given up")
