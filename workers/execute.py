"""Execution: a worker process checks a message, claims its dispatch, runs the handler and writes how it ended."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from uuid import UUID

import structlog
from django.db import Error, connection

from apps.core import metrics
from apps.core.clock import DatabaseClock
from apps.jobs.context import Context
from apps.jobs.lifecycle import Ending, Move, State
from apps.jobs.operations import end, recover
from apps.jobs.operations.end import End, Held, Report
from apps.jobs.operations.run import Claimed, claim
from apps.jobs.outcome import Failure, FailureKind, JobTimeout, classify
from apps.jobs.storage import TenantStorage
from apps.jobs.types import REGISTRY, JobType
from apps.tenancy import keys
from apps.tenancy.context import across_tenants
from workers.attempt import AttemptLine
from workers.message import ForgedMessageError, check
from workers.policies import retry_of

log = structlog.get_logger(__name__)

WORKER_ID_VARIABLE = "OPS_WORKER_ID"
# The outcome of a run that is over is worth waiting for a database that restarts; past this its lease is lost anyway.
SETTLE_FOR_S = 60.0

ENDINGS = {
    FailureKind.FAILED: Ending.FAILED,
    FailureKind.RETRY: Ending.FAILED,
    FailureKind.CANCELLED: Ending.CANCELLED,
    FailureKind.TIMED_OUT: Ending.TIMED_OUT,
}


def execute(*, task: str, args: object) -> str:
    """Run the dispatch that a message of task `task` stands for; return what came of it, a word for Flower.

    A message whose MAC is not ours runs nothing; one whose fence is past runs nothing either.
    """
    try:
        job_id, fence = check(task=task, args=args, key=keys.message_key())
    except ForgedMessageError as error:
        log.error("message_forged", task=task, detail=str(error))  # noqa: TRY400 - the trace would say nothing more
        metrics.message_refused(task=task)
        return "forged"
    with across_tenants():
        claimed = claim(job_id=job_id, fence=fence, worker_id=worker_id(), pid=os.getpid())
        if claimed is None:
            if recover.decline(job_id=job_id, fence=fence, worker_id=worker_id(), retry_of=retry_of):
                return "declined"
            log.info("message_stale", task=task, job_id=str(job_id), fence=fence)
            return "stale"
        structlog.contextvars.bind_contextvars(job_id=str(job_id), tenant_id=claimed.tenant_id, fence=fence)
        try:
            return _run(claimed, job_type=REGISTRY.get(task))
        finally:
            structlog.contextvars.unbind_contextvars("job_id", "tenant_id", "fence")


def worker_id() -> UUID:
    """Return the id of the worker this process belongs to; its parent set it before it forked."""
    return UUID(os.environ[WORKER_ID_VARIABLE])


def _run(claimed: Claimed, *, job_type: JobType) -> str:
    """Run the handler under its time-out and settle the outcome."""
    clock = DatabaseClock(instant=claimed.claimed_at)
    line = AttemptLine(job_id=claimed.job_id, fence=claimed.fence, claimed_at=claimed.claimed_at, clock=clock)
    try:
        context = _context(claimed, line=line)
    except Exception as error:  # noqa: BLE001 - a tenant's storage that cannot be used fails the attempt, not the worker
        failure: Failure | None = classify(error)
    else:
        try:
            with line, deadline(seconds=claimed.timeout_s):
                failure = job_type.run(context=context, params=claimed.params)
        except JobTimeout as error:  # the alarm rang outside the handler: while its end was being judged, or just after
            failure = classify(error)
    return _settle(claimed, job_type=job_type, line=line, failure=failure, clock=clock)


def _context(claimed: Claimed, *, line: AttemptLine) -> Context:
    """Return what the handler is given."""
    return Context(
        job_id=str(claimed.job_id),
        tenant_id=claimed.tenant_id,
        type=claimed.type,
        attempt=claimed.attempt,
        storage=TenantStorage(base_url=claimed.storage_url),
        reporter=line,
        contract=claimed.contract_document,
    )


@contextmanager
def deadline(*, seconds: float) -> Iterator[None]:
    """Raise `JobTimeout` in this (main) thread after `seconds`, and each second from then on.

    Once would not do: a handler may catch everything. One stuck in C code hears nothing; it is for the sweeper and the
    pool's hard limit.
    """

    def on_alarm(_number: int, _frame: FrameType | None) -> None:
        raise JobTimeout

    before = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _settle(
    claimed: Claimed, *, job_type: JobType, line: AttemptLine, failure: Failure | None, clock: DatabaseClock
) -> str:
    """Write how the attempt ended, asking a database that is away again until the lease cannot be ours any more."""
    finished_at = clock.now()
    give_up_at, pause_s = time.monotonic() + SETTLE_FOR_S, 0.1
    while True:
        try:
            line.flush()
            decided = end.decide(
                _held(claimed),
                ending=ENDINGS[failure.kind] if failure else Ending.SUCCEEDED,
                at=finished_at,
                retry=job_type.retry,
                report=_report(line, failure=failure),
            )
            written = end.write([decided])
            break
        except Error as error:
            if time.monotonic() > give_up_at:
                log.exception("outcome_not_written")
                raise
            log.warning("outcome_waits_for_database", error=type(error).__name__, pause_s=pause_s)
            connection.close()
            threading.Event().wait(pause_s)
            pause_s = min(pause_s * 2, 2.0)
    if not written:
        log.warning("finished_late", ending=decided.ending)
        return "late"
    _tell(claimed, decided=decided)
    return str(decided.target)


def _report(line: AttemptLine, *, failure: Failure | None) -> Report:
    """Return what the attempt leaves behind."""
    kept = Report(result=line.result(), log_lines=line.lines, log_digest=line.digest)
    if failure is None:
        return kept
    error = {
        "class": failure.error_class,
        "code": failure.code,
        "message": failure.message,
        "fingerprint": failure.fingerprint,
        "location": failure.location,
    }
    return replace(
        kept,
        error=error,
        reason_code=failure.code,
        permanent=failure.kind is FailureKind.FAILED,
        retry_after_s=failure.retry_after_s,
    )


def _held(claimed: Claimed) -> Held:
    return Held(
        job_id=claimed.job_id,
        fence=claimed.fence,
        tenant_id=claimed.tenant_id,
        type=claimed.type,
        status=State.RUNNING,
        attempt=claimed.attempt,
        max_attempts=claimed.max_attempts,
        params_digest=claimed.params_digest,
        contract=claimed.contract,
        contract_digest=claimed.contract_digest,
        environment=claimed.environment,
        region=claimed.region,
        started_at=claimed.claimed_at,
    )


def _tell(claimed: Claimed, *, decided: End) -> None:
    """Log and count what came of the attempt."""
    seconds = (decided.at - claimed.claimed_at).total_seconds()
    log.info(
        "attempt_ended",
        type=claimed.type,
        attempt=claimed.attempt,
        ending=decided.ending,
        move=decided.move,
        seconds=round(seconds, 3),
    )
    metrics.job_entered(tenant_id=claimed.tenant_id, job_type=claimed.type, status=str(decided.target))
    if decided.move is not Move.RETRY:
        metrics.job_ran(seconds=seconds, job_type=claimed.type, outcome=str(decided.target))
