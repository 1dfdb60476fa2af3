"""Faults 9, 10, 11: a decision point that is stopped, hangs, says 500 or takes its word back, under a whole plane."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opsplatform import embedded
from opsplatform.plane import Plane
from tests.conftest import _free_ports
from tests.support.client import Caller, Truth, wait_for
from tests.support.points import Stranger

SHORT = {"max_age_s": 1, "stale_if_error_s": 0}
NOT_ASKED_AGAIN = {"max_age_s": 600, "stale_if_error_s": 0}


@pytest.fixture(scope="module")
def governance() -> Iterator[Stranger]:
    """Governance, as a stranger's process."""
    yield from _stranger()


@pytest.fixture(scope="module")
def subscription() -> Iterator[Stranger]:
    """Subscription, as a stranger's process."""
    yield from _stranger()


def _stranger() -> Iterator[Stranger]:
    (port,) = _free_ports(1)
    process = Stranger(port)
    process.start()
    try:
        yield process
    finally:
        process.stop()


@pytest.fixture(scope="module")
def plane(governance: Stranger, subscription: Stranger) -> Iterator[Plane]:
    """A whole plane that asks two strangers."""
    folder = Path(tempfile.mkdtemp(prefix="ops-points-")).resolve()
    folder.chmod(0o711)
    port, flower_port = _free_ports(2)
    urls = {"OPS_GOVERNANCE_URL": governance.url, "OPS_SUBSCRIPTION_URL": subscription.url}
    try:
        with Plane(home=folder / "home", port=port, flower_port=flower_port, variables=urls) as running:
            yield running
    finally:
        embedded.erase(home=folder / "home")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def behaving(healthy: None, caller: Caller, governance: Stranger, subscription: Stranger) -> Iterator[None]:
    """Both points behave at first, and again when the test is over."""
    for point in (governance, subscription):
        point.behave(context=SHORT)
    asked_anew(caller, governance, subscription)
    yield
    for point in (governance, subscription):
        if point._process is None:
            point.start()
        point.behave(context=SHORT)


def post(caller: Caller, **more: Any) -> Any:
    return caller.request("POST", "/operations/jobs", json={"type": "ops.noop", "params": {}, **more})


def asked_anew(caller: Caller, *points: Stranger) -> None:
    """Wait until submissions are decided by what the points say now.

    Until then an answer kept from before serves, for a second, or the breaker is still open from an earlier test.
    """

    def decided() -> bool:
        said = post(caller).status_code == 202
        return said and all("operations.submit" in actions(point) for point in points)

    def actions(point: Stranger) -> set[str]:
        return {question["action"]["name"] for question in point.state()["asked"]}

    wait_for(decided, what="the points asked anew", within_s=40)


TROUBLE = [{"status": 500}, {"hang_s": 10}, None]


@pytest.mark.parametrize("trouble", TROUBLE, ids=["answers 500", "hangs", "is stopped"])
def test_fault_9_governance_unreachable_refuses_with_503_and_no_row(
    caller: Caller, truth: Truth, governance: Stranger, trouble: dict[str, Any] | None
) -> None:
    assert post(caller, priority="low").status_code == 202
    before = truth.one("SELECT count(*) AS n FROM jobs")["n"]
    if trouble is None:
        governance.stop()
    else:
        governance.behave(**trouble)
    answer = wait_for(
        lambda: found if (found := post(caller, priority="low")).status_code == 503 else None,
        what="the kept answer is too old",
        within_s=20,
    )
    assert answer.json()["code"] == "decision_point_away"
    assert int(answer.headers["Retry-After"]) >= 1
    before = truth.one("SELECT count(*) AS n FROM jobs")["n"]
    assert post(caller, priority="low").status_code == 503
    assert truth.one("SELECT count(*) AS n FROM jobs")["n"] == before


def test_fault_9_a_still_valid_yes_permits_and_is_marked_stale_in_decision_and_evidence(
    caller: Caller, truth: Truth, governance: Stranger
) -> None:
    governance.behave(context={"max_age_s": 1, "stale_if_error_s": 600})
    asked_anew(caller, governance)
    for _ in range(8):  # both web processes keep an answer of their own, and the scheduler its own to the dispatch
        assert caller.wait(post(caller).json()["job_id"])["outcome"] == "succeeded"
    governance.behave(status=500)

    def stale() -> dict[str, Any] | None:
        answer = post(caller)
        if answer.status_code != 202:
            return None
        rows = truth.rows(
            "SELECT context FROM decisions WHERE job_id = %s AND point = 'governance'"
            " AND action = 'operations.submit' AND context ? 'stale'",
            answer.json()["job_id"],
        )
        return {"job_id": answer.json()["job_id"], **rows[0]["context"]} if rows else None

    found = wait_for(stale, what="a submission under a stale yes", within_s=20)
    assert found["age_s"] >= 1
    (record,) = truth.rows(
        "SELECT convert_from(payload, 'UTF8')::jsonb -> 'predicate' -> 'decisions' -> 'governance' AS said"
        " FROM evidence_records WHERE subject_id = %s AND predicate LIKE '%%admission%%'",
        found["job_id"],
    )
    assert record["said"]["stale"] is True


def test_fault_9_at_dispatch_a_job_waits_with_that_gate_and_runs_when_governance_is_back(
    caller: Caller, truth: Truth, governance: Stranger
) -> None:
    truth.execute("UPDATE environments SET paused_until = now() + interval '1 hour' WHERE name = 'batch'")
    try:
        job_id = post(caller, environment="batch").json()["job_id"]
        governance.behave(status=500)
        wait_for(
            lambda: truth.one(
                "SELECT clock_timestamp() > max(decided_at) + interval '1 s' AS old FROM decisions WHERE job_id = %s",
                job_id,
            )["old"],
            what="its decision is too old",
        )
    finally:
        truth.execute("UPDATE environments SET paused_until = NULL WHERE name = 'batch'")
    wait_for(lambda: caller.job(job_id)["waiting_for"] == "governance_away", what="the gate", within_s=20)
    assert caller.job(job_id)["status"] == "queued"
    governance.behave(context=SHORT)
    assert caller.wait(job_id, within_s=60)["outcome"] == "succeeded"
    assert truth.rows("SELECT 1 FROM decisions WHERE job_id = %s AND action = 'operations.dispatch'", job_id)


def test_a_no_at_dispatch_rejects_with_decision_and_evidence(
    caller: Caller, truth: Truth, governance: Stranger
) -> None:
    truth.execute("UPDATE environments SET paused_until = now() + interval '1 hour' WHERE name = 'batch'")
    try:
        governance.behave(context={"max_age_s": 0}, deny=["operations.dispatch"])
        job_id = post(caller, environment="batch").json()["job_id"]
    finally:
        truth.execute("UPDATE environments SET paused_until = NULL WHERE name = 'batch'")
    job = caller.wait(job_id, within_s=30)
    assert (job["outcome"], job["reason_code"], job["attempt"]) == ("rejected", "denied", 0)
    assert job["decision"]["governance"]["allowed"] is False
    assert truth.rows("SELECT 1 FROM evidence_records WHERE subject_id = %s AND predicate LIKE '%%outcome%%'", job_id)
    assert truth.rows("SELECT 1 FROM events WHERE subject = %s AND type = 'operations.job.rejected'", job_id)


def test_fault_10_last_known_limits_serve_for_a_while_then_503(
    caller: Caller, truth: Truth, subscription: Stranger
) -> None:
    subscription.behave(context={"max_age_s": 1, "stale_if_error_s": 4, "limits": {"backlog_cap": 100}})
    asked_anew(caller, subscription)
    for _ in range(6):
        assert post(caller).status_code == 202
    subscription.behave(status=500)
    wait_for(
        lambda: (
            post(caller).status_code == 202
            and truth.rows("SELECT 1 FROM decisions WHERE point = 'subscription' AND context ? 'stale'")
        ),
        what="a job under last known limits",
        within_s=4,
    )
    answer = wait_for(
        lambda: found if (found := post(caller)).status_code == 503 else None, what="then refused", within_s=20
    )
    assert answer.json()["code"] == "decision_point_away"
    subscription.behave(context=SHORT)
    wait_for(lambda: post(caller).status_code == 202, what="served again", within_s=40)


@pytest.mark.parametrize("stubborn", [False, True])
def test_fault_11_an_entitlement_withdrawn_mid_run_stops_the_job_with_that_reason(
    caller: Caller, truth: Truth, subscription: Stranger, stubborn: bool
) -> None:
    answer = caller.request(
        "POST", "/operations/jobs", json={"type": "ops.sleep", "params": {"seconds": 300, "stubborn": stubborn}}
    )
    job_id = answer.json()["job_id"]
    caller.wait(job_id, status="running")
    subscription.behave(context=SHORT, deny=["operations.continue"])
    job = caller.wait(job_id, within_s=40)
    assert (job["outcome"], job["reason_code"]) == ("cancelled", "entitlement_withdrawn")
    assert job["cancel_requested_by"] == "subscription"
    story = caller.request("GET", f"/operations/jobs/{job_id}/timeline").json()["items"]
    (asked,) = [each for each in story if each["what"] == "cancel_requested"]
    assert asked["reason"].startswith("entitlement_withdrawn")
    assert [each["reason_code"] for each in story if each["what"] == "ended"] == ["entitlement_withdrawn"]
