"""A bundle in the process that claimed it: what is still to be run, what has ended and is not written down yet.

Two threads share it, under its lock: the main thread runs job after job; the speaker's lets the rest go when one takes
so long that the others should not wait for it.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

import structlog
from django.db import Error, InterfaceError, OperationalError, connection

from apps.core import metrics
from apps.core.clock import DatabaseClock
from apps.jobs.lifecycle import Ending, Move, State
from apps.jobs.operations import end
from apps.jobs.operations.end import End, Report
from apps.jobs.operations.held import Held
from apps.jobs.operations.run import Claimed
from apps.jobs.outcome import Failure, FailureKind, classify
from apps.jobs.storage import TenantStorage
from apps.jobs.types import JobType
from workers.attempt import AttemptLine

log = structlog.get_logger(__name__)

# The outcome of a run that is over is worth waiting for a database that restarts; past this its lease is lost anyway.
SETTLE_FOR_S = 60.0
# Ends are written together, but none waits longer than this for the next: what is unwritten is run again if we die.
WRITE_AFTER_S = 0.1
AWAY = (OperationalError, InterfaceError)

ENDINGS = {
    FailureKind.FAILED: Ending.FAILED,
    FailureKind.RETRY: Ending.FAILED,
    FailureKind.CANCELLED: Ending.CANCELLED,
    FailureKind.TIMED_OUT: Ending.TIMED_OUT,
}


@dataclass(frozen=True, kw_only=True)
class Done:
    """A job whose handler is over; `failure` says how it failed, if it did."""

    claimed: Claimed
    line: AttemptLine
    failure: Failure | None
    began_at: datetime
    finished_at: datetime


class BundleRun:
    """The jobs that one claim brought, all of one type, in the order in which they are to run."""

    def __init__(self, claimed: Sequence[Claimed], *, job_type: JobType) -> None:
        self.job_type = job_type
        self._clock = DatabaseClock(instant=claimed[0].claimed_at)
        self._lock = threading.Lock()
        self._rest = deque(claimed)
        self._ended: list[Done] = []
        self._began_at = claimed[0].claimed_at
        self._written_at = time.monotonic()
        self._came_of: Counter[str] = Counter()
        self._storages: dict[str, TenantStorage] = {}

    def next(self) -> Claimed | None:
        """Return the job to run now; None when none is left, and then all that ended is written."""
        if not self._rest or time.monotonic() - self._written_at > WRITE_AFTER_S:
            self._write_ended()
        with self._lock:
            if not self._rest:
                return None
            claimed = self._rest.popleft()
        self._began_at = self._clock.now()
        return claimed

    @property
    def has_more(self) -> bool:
        """Whether jobs wait for the one that runs, to be run or to be written down."""
        return bool(self._rest or self._ended)

    def storage_of(self, claimed: Claimed) -> TenantStorage:
        """Return the storage of the job's tenant; raises what `TenantStorage` does. One for a bundle's jobs will do."""
        found = self._storages.get(claimed.storage_url)
        if found is None:
            found = self._storages[claimed.storage_url] = TenantStorage(base_url=claimed.storage_url)
        return found

    def line_for(self, claimed: Claimed) -> AttemptLine:
        """Return the line by which the attempt reports."""
        return AttemptLine(
            job_id=claimed.job_id,
            fence=claimed.fence,
            bundle_id=claimed.bundle_id,
            clock=self._clock,
            heartbeat_s=claimed.heartbeat_s,
        )

    def done(self, claimed: Claimed, *, line: AttemptLine, failure: Failure | None) -> Done:
        """Return what is to be written of an attempt that is over now."""
        return Done(claimed=claimed, line=line, failure=failure, began_at=self._began_at, finished_at=self._clock.now())

    def broken(self, claimed: Claimed, *, error: Exception) -> Done:
        """Return the end of an attempt that the plane itself failed, with nothing of its report.

        It must not hold its slot until its time-out. If that cannot be written either, the worker's parent finds at a
        beat that nobody runs it.
        """
        failure = replace(
            classify(error), code="internal_error", message="the plane failed to run or settle the attempt"
        )
        return self.done(claimed, line=self.line_for(claimed), failure=failure)

    def ended(self, done: Done) -> None:
        """Take an attempt that is over; it is written with the next ones, or when nothing is left to run."""
        with self._lock:
            self._ended.append(done)

    def words(self) -> str:
        """Return how many jobs came to what: `succeeded`, or `failed 1, succeeded 49`."""
        if self._came_of.total() == 1:
            return next(iter(self._came_of))
        return ", ".join(f"{word} {count}" for word, count in sorted(self._came_of.items()))

    def let_go(self) -> bool:
        """Write what ended and hand the rest back, at the cost of no attempt; return whether that was done.

        Called by the speaker while a job runs that takes longer than its bundle was made for.
        """
        with self._lock:
            ended, self._ended = self._ended, []
            rest, self._rest = list(self._rest), deque()
        decided = [self._end(each) for each in ended]
        try:
            written = end.write([*decided, *map(self._handed_back, rest)])
        except Error as error:
            log.warning("bundle_not_let_go", error=type(error).__name__)
            connection.close()
            with self._lock:
                self._ended, self._rest = ended + self._ended, deque(rest)
            return False
        log.info("bundle_let_go", handed_back=len(rest))
        self._came_of["handed_back"] += len(rest)
        self._tell(ended, decided, written=written)
        return True

    def _write_ended(self) -> None:
        with self._lock:
            ended, self._ended = self._ended, []
        self._written_at = time.monotonic()
        if not ended:
            return
        try:
            self._settle(ended)
        except AWAY:
            log.exception("outcomes_not_written", jobs=len(ended))
            raise
        except Exception as error:  # one of them cannot be written as it is: the others can
            log.exception("outcome_broke", jobs=len(ended))
            connection.close()
            for each in ended:
                self._settle_alone(each, error=error)

    def _settle_alone(self, done: Done, *, error: Exception) -> None:
        try:
            self._settle([done])
        except AWAY:
            raise
        except Exception:
            log.exception("outcome_broke", job_id=str(done.claimed.job_id))
            connection.close()
            self._settle([replace(self.broken(done.claimed, error=error), began_at=done.began_at)])

    def _settle(self, ended: Sequence[Done]) -> None:
        """Write how attempts ended, asking a database that is away again until the lease cannot be ours any more."""
        give_up_at, pause_s = time.monotonic() + SETTLE_FOR_S, 0.1
        while True:
            try:
                for each in ended:
                    each.line.flush()
                decided = [self._end(each) for each in ended]
                written = end.write(decided)
                break
            except AWAY as error:
                if time.monotonic() > give_up_at:
                    raise
                log.warning("outcome_waits_for_database", error=type(error).__name__, pause_s=pause_s)
                connection.close()
                threading.Event().wait(pause_s)
                pause_s = min(pause_s * 2, 2.0)
        self._tell(ended, decided, written=written)

    def _end(self, done: Done) -> End:
        failure = done.failure
        return end.decide(
            _held(done.claimed, began_at=done.began_at),
            ending=ENDINGS[failure.kind] if failure else Ending.SUCCEEDED,
            at=done.finished_at,
            retry=self.job_type.retry,
            report=_report(done.line, failure=failure),
            began_at=done.began_at,
        )

    def _handed_back(self, claimed: Claimed) -> End:
        return end.decide(
            _held(claimed, began_at=claimed.claimed_at),
            ending=Ending.HANDED_BACK,
            at=self._clock.now(),
            retry=self.job_type.retry,
        )

    def _tell(self, ended: Sequence[Done], ends: Sequence[End], *, written: Collection[tuple[UUID, int]]) -> None:
        """Log and count what came of attempts: a line each, but one for all that went well in a bundle of several."""
        quiet = 0
        for done, decided in zip(ended, ends, strict=True):
            claimed = done.claimed
            if (claimed.job_id, claimed.fence) not in written:
                log.warning("finished_late", job_id=str(claimed.job_id), fence=claimed.fence, ending=decided.ending)
                self._came_of["late"] += 1
                continue
            seconds = (done.finished_at - done.began_at).total_seconds()
            self._came_of[str(decided.target)] += 1
            metrics.job_entered(tenant_id=claimed.tenant_id, job_type=claimed.type, status=str(decided.target))
            if decided.move is not Move.RETRY:
                metrics.job_ran(seconds=seconds, job_type=claimed.type, outcome=str(decided.target))
            if len(ended) > 1 and decided.move is Move.SUCCEED:
                quiet += 1
                continue
            log.info(
                "attempt_ended",
                job_id=str(claimed.job_id),
                tenant_id=claimed.tenant_id,
                fence=claimed.fence,
                type=claimed.type,
                attempt=claimed.attempt,
                ending=decided.ending,
                move=decided.move,
                seconds=round(seconds, 3),
            )
        if quiet:
            bundle_id = str(ended[0].claimed.bundle_id)
            log.info("attempts_succeeded", bundle_id=bundle_id, type=self.job_type.name, jobs=quiet)


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
        how="cooperative",
        permanent=failure.kind is FailureKind.FAILED,
        retry_after_s=failure.retry_after_s,
    )


def _held(claimed: Claimed, *, began_at: datetime) -> Held:
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
        started_at=began_at,
        bundle_id=claimed.bundle_id,
        bundle_size=claimed.bundle_size,
        retry=claimed.retry,
        deadline_at=claimed.deadline_at,
    )
