"""The catalogue's second and third word: at dispatch, and while a job runs."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import connection

from apps.jobs import points
from apps.jobs.scheduling import Held, Pool, TenantShare, Waiting
from tests.integration.conftest import Change, Control, Look
from tests.support.work import admitted, claimed, only, worker
from workers.admission import Admission
from workers.selector import Selector


def job(look: Look, job_id: UUID) -> dict[str, Any]:
    return dict(only(look("SELECT * FROM jobs WHERE job_id = %s", job_id)))


def waiting() -> list[Waiting]:
    """Return what the scheduler would choose now."""
    selector = Selector(limits={})
    shares = {name: TenantShare(weight=1, max_running=100) for name in ("acme", "globex", "sandbox")}
    selector.observe(holding=[], known=shares)
    selector.discover(["default"], held=Held([]))
    return list(selector.choose(pool=Pool(name="default", capacity=200), free=200, held=Held([])).jobs)


def forbidden(*_: Any) -> Any:
    """Let no statement through."""
    raise AssertionError("a job was asked about again")


def test_a_tenant_suspended_meanwhile_is_rejected_at_dispatch_and_others_go_on(
    look: Look, control: Control, change: Change
) -> None:
    mine, theirs = admitted(), admitted(tenant="globex")
    change("UPDATE tenants SET state = 'suspended' WHERE tenant_id = 'acme'")
    with control():
        admission = Admission(points=points.in_force())
        admission.look()
        assert [each.job_id for each in admission.permitted(waiting())] == [theirs]
    row = job(look, mine)
    assert (row["status"], row["reason_code"], row["error"]["refused_by"]) == (
        "rejected",
        "tenant_not_active",
        "governance",
    )
    decision = only(look("SELECT * FROM decisions WHERE job_id = %s AND action = 'operations.dispatch'", mine))
    assert (decision["point"], decision["allowed"]) == ("governance", False)
    assert only(look("SELECT 1 FROM events WHERE subject = %s AND type = 'operations.job.rejected'", str(mine)))
    assert look("SELECT 1 FROM evidence_records WHERE subject_id = %s AND predicate = 'outcome'", str(mine))


def test_under_an_unchanged_catalogue_a_job_is_asked_about_once(control: Control) -> None:
    admitted()
    with control():
        admission = Admission(points=points.in_force())
        admission.look()
        found = admission.permitted(waiting())
        with connection.execute_wrapper(forbidden):
            assert admission.permitted(found) == found


def test_a_subscription_ended_mid_run_asks_the_job_to_stop_with_that_reason(
    look: Look, control: Control, change: Change
) -> None:
    job_id = admitted("ops.sleep", params={"seconds": 60})
    with control():
        claimed(job_id, worker_id=worker())
        admission = Admission(points=points.in_force())
        admission.look()
        assert admission.withdraw() == []
        change("UPDATE subscriptions SET state = 'ended' WHERE tenant_id = 'acme'")
        admission._points["subscription"]._looked_at = 0.0  # type: ignore[union-attr]
        admission.look()
        assert admission.withdraw() == [job_id]
    row = job(look, job_id)
    assert row["cancel_requested_by"] == "subscription"
    assert row["cancel_reason"].startswith("entitlement_withdrawn: subscription_ended")


def test_a_retired_contract_lets_what_runs_under_it_come_to_its_end(
    look: Look, control: Control, change: Change
) -> None:
    running = admitted("kpi.refresh", contract="kpi.seattle-rain@1")
    queued = admitted("kpi.refresh", contract="kpi.seattle-rain@1")
    with control():
        claimed(running, worker_id=worker())
        change("UPDATE contracts SET state = 'retired'")
        admission = Admission(points=points.in_force())
        admission.look()
        assert admission.withdraw() == []
        assert admission.permitted(waiting()) == []
    assert job(look, queued)["reason_code"] == "contract_not_active"
