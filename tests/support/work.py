"""Jobs brought to where a test needs them, by the operations that bring them there in life."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.db import connection

from apps.core.ids import uuid7
from apps.jobs import points
from apps.jobs.lifecycle import Ending, State
from apps.jobs.operations.dispatch import Dispatched, dispatch
from apps.jobs.operations.end import End, Report, decide, write
from apps.jobs.operations.held import Held
from apps.jobs.operations.processes import REGISTER, registration
from apps.jobs.operations.run import Claimed, claim
from apps.jobs.operations.submit import Submission, Submitted, submit
from apps.jobs.retry import Retry
from apps.jobs.types import REGISTRY
from apps.tenancy.context import in_tenant

AT_ONCE = Retry(max_attempts=3, backoff="none", initial_s=0, jitter=0)
PID = 4711


def submission(type: str = "ops.noop", *, tenant: str = "acme", **more: Any) -> Submission:  # noqa: A002
    """Return a submission of `tenant`, plain but for what is said."""
    values: dict[str, Any] = {"params": {}, "submitted_by": "data-acquisition", **more}
    return Submission(tenant_id=tenant, job_type=REGISTRY.get(type), **values)


def submitted(type: str = "ops.noop", *, tenant: str = "acme", **more: Any) -> Submitted:  # noqa: A002
    """Submit a job in its tenant's context, as the web process does; return what came of it."""
    with in_tenant(tenant):
        return submit(submission(type, tenant=tenant, **more), points=points.in_force())


def admitted(type: str = "ops.noop", *, tenant: str = "acme", **more: Any) -> UUID:  # noqa: A002
    """Submit a job that must be admitted; return its id."""
    made = submitted(type, tenant=tenant, **more)
    assert made.refusal is None, made.refusal
    return made.job_id


def worker(*, environment: str = "default", capacity: int = 4) -> UUID:
    """Register a worker whose lease lives; return its id. For the control role."""
    process_id = uuid7()
    facts = registration(
        process_id=process_id,
        role="worker",
        name=f"worker-{environment}",
        host="here",
        pid=PID,
        environment=environment,
        capacity=capacity,
    )
    with connection.cursor() as cursor:
        cursor.execute(REGISTER, facts)
    return process_id


def dispatched(job_id: UUID) -> Dispatched:
    """Dispatch a job that is queued."""
    ((made,),) = dispatch([[job_id]])
    return made


def offered(made: Dispatched, *, worker_id: UUID, pid: int = PID) -> Claimed | None:
    """Claim a dispatch, if it is still on offer."""
    found = claim(bundle_id=made.bundle_id, dispatches=[(made.job_id, made.fence)], worker_id=worker_id, pid=pid)
    return found[0] if found else None


def claimed(job_id: UUID, *, worker_id: UUID, pid: int = PID) -> Claimed:
    """Dispatch a job that is queued and claim it."""
    found = offered(dispatched(job_id), worker_id=worker_id, pid=pid)
    assert found is not None
    return found


def naming(run: Claimed) -> dict[str, Any]:
    """Return the arguments by which a claimed dispatch is named in a report."""
    return {"job_id": run.job_id, "fence": run.fence, "bundle_id": run.bundle_id}


def held(run: Claimed, **changes: Any) -> Held:
    """Return a claimed dispatch as its worker knows it."""
    known = Held(
        job_id=run.job_id,
        fence=run.fence,
        tenant_id=run.tenant_id,
        type=run.type,
        status=State.RUNNING,
        attempt=run.attempt,
        max_attempts=run.max_attempts,
        params_digest=run.params_digest,
        contract=run.contract,
        contract_digest=run.contract_digest,
        environment=run.environment,
        region=run.region,
        started_at=run.claimed_at,
        retry=run.retry,
        deadline_at=run.deadline_at,
        bundle_id=run.bundle_id,
        bundle_size=run.bundle_size,
    )
    return replace(known, **changes)


def ended(run: Claimed, ending: Ending, *, retry: Retry = AT_ONCE, **report: Any) -> End:
    """Return the end that a worker would report of a claimed dispatch, now."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (now,) = cursor.fetchone()
    return decide(held(run), ending=ending, at=now, retry=retry, report=Report(**report))


def finish(run: Claimed, ending: Ending = Ending.SUCCEEDED, **more: Any) -> bool:
    """Write the end of a claimed dispatch; return whether it counted."""
    return bool(write([ended(run, ending, **more)]))


def only(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the one row there is."""
    (row,) = rows
    return row
