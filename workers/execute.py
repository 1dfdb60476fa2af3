"""Execution: a worker process checks a message, claims its bundle, runs the handlers and writes how each ended."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from uuid import UUID

import structlog

from apps.core import metrics
from apps.jobs.context import Context
from apps.jobs.operations import recover
from apps.jobs.operations.run import Claimed, claim
from apps.jobs.outcome import Failure, JobTimeout, classify
from apps.jobs.storage import TenantStorage
from apps.jobs.types import REGISTRY
from apps.tenancy import keys
from apps.tenancy.context import across_tenants
from workers.attempt import AttemptLine
from workers.bundle import BundleRun, Done
from workers.message import ForgedMessageError, check
from workers.policies import retry_of
from workers.speaker import speaker

log = structlog.get_logger(__name__)

WORKER_ID_VARIABLE = "OPS_WORKER_ID"


def execute(*, task: str, args: object) -> str:
    """Run the dispatches that a message of task `task` stands for; return what came of them, words for Flower.

    A message whose MAC is not ours runs nothing; of one whose fences are past nothing runs either.
    """
    try:
        message = check(task=task, args=args, key=keys.message_key())
    except ForgedMessageError as error:
        log.error("message_forged", task=task, detail=str(error))  # noqa: TRY400 - the trace would say nothing more
        metrics.message_refused(task=task)
        return "forged"
    with across_tenants():
        claimed = claim(
            bundle_id=message.bundle_id, dispatches=message.dispatches, worker_id=worker_id(), pid=os.getpid()
        )
        if claimed:
            return _run_all(BundleRun(claimed, job_type=REGISTRY.get(task)))
        if recover.decline(message.dispatches, worker_id=worker_id(), retry_of=retry_of):
            return "declined"
        log.info("message_stale", task=task, bundle_id=str(message.bundle_id), jobs=len(message.dispatches))
        return "stale"


def worker_id() -> UUID:
    """Return the id of the worker this process belongs to; its parent set it before it forked."""
    return UUID(os.environ[WORKER_ID_VARIABLE])


def _run_all(bundle: BundleRun) -> str:
    """Run a bundle's jobs one after the other; return how many came to what."""
    while (claimed := bundle.next()) is not None:
        structlog.contextvars.bind_contextvars(
            job_id=str(claimed.job_id), tenant_id=claimed.tenant_id, fence=claimed.fence
        )
        try:
            bundle.ended(_run(claimed, bundle=bundle))
        except Exception as error:
            log.exception("attempt_broke")
            bundle.ended(bundle.broken(claimed, error=error))
        finally:
            structlog.contextvars.unbind_contextvars("job_id", "tenant_id", "fence")
    speaker().rest()
    return bundle.words()


def _run(claimed: Claimed, *, bundle: BundleRun) -> Done:
    """Run the handler under its time-out and return how that went; what it waits for is let go if it takes long."""
    line = bundle.line_for(claimed)
    try:
        context = _context(claimed, line=line, storage=bundle.storage_of(claimed))
    except Exception as error:  # noqa: BLE001 - a tenant's storage that cannot be used fails the attempt, not the worker
        failure: Failure | None = classify(error)
    else:
        failure = _handled(claimed, line=line, context=context, bundle=bundle)
    return bundle.done(claimed, line=line, failure=failure)


def _handled(claimed: Claimed, *, line: AttemptLine, context: Context, bundle: BundleRun) -> Failure | None:
    voice = speaker()
    voice.open(line, let_go=bundle.let_go if bundle.has_more else None)
    try:
        with deadline(seconds=claimed.timeout_s, line=line):
            return bundle.job_type.run(context=context, params=claimed.params)
    except JobTimeout as error:  # the alarm rang outside the handler: while its end was being judged, or just after
        return classify(error)
    finally:
        voice.close()


def _context(claimed: Claimed, *, line: AttemptLine, storage: TenantStorage) -> Context:
    """Return what the handler is given."""
    return Context(
        job_id=str(claimed.job_id),
        tenant_id=claimed.tenant_id,
        type=claimed.type,
        attempt=claimed.attempt,
        fence=claimed.fence,
        storage=storage,
        reporter=line,
        contract=claimed.contract_document,
    )


@contextmanager
def deadline(*, seconds: float, line: AttemptLine) -> Iterator[None]:
    """Raise `JobTimeout` in this (main) thread after `seconds`, or when the handler is silent for too long.

    And each second from then on.

    Once would not do: a handler may catch everything. One stuck in C code hears nothing; it is for the sweeper and the
    pool's hard limit.
    """

    over, main = False, threading.get_ident()

    def on_alarm(_number: int, _frame: FrameType | None) -> None:
        if over:  # the handler is back, and what is being put away here must not be interrupted
            return
        if line.silent:
            raise JobTimeout("the attempt said nothing for too long", code="heartbeat")
        raise JobTimeout

    before = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    line.wake_by(lambda: signal.pthread_kill(main, signal.SIGALRM))
    try:
        yield
    finally:
        over = True
        line.wake_by(None)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
