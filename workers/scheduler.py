"""The scheduler: picks what runs next, fairly and within limits, gives it a slot and a fence, and tells a worker.

It is woken by submissions and finished jobs and looks by itself each second. It also sweeps: what it handed out and
nobody claimed, or a worker holds that is gone, comes back from here, and so needs no broker to be found.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import structlog
from kombu.exceptions import KombuError

from apps.jobs import points, queries
from apps.jobs.operations import recover
from apps.jobs.operations.dispatch import Dispatched, dispatch, release_due
from apps.jobs.operations.wake import CHANNEL
from apps.jobs.scheduling import Holding, TenantShare, TypeLimits, barred, choose
from apps.jobs.types import REGISTRY
from apps.subscription.queries import shares
from apps.tenancy import keys
from apps.tenancy.context import across_tenants
from workers import loop
from workers.admission import Admission
from workers.broker import Broker, refusals
from workers.message import sign
from workers.policies import retry_of

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 1.0
SWEEP_EVERY_S = 2.0
# Beyond its time-out an attempt has the sweeper's grace, then the pool kills the process that would not stop.
KILL_AFTER_S = recover.OVERTIME_S + 5
BROKER_PAUSE_S = (0.5, 5.0)


class Scheduler:
    """One process's state between looks: nothing that the database does not know better."""

    def __init__(self, *, app: Any) -> None:
        self._app = app
        self._swept_at = 0.0
        self._broker = Broker(app=app)
        self._refusals = refusals(app)
        self._broker_pause_s = 0.0
        self._broker_back_at = 0.0
        self._admission = Admission(points=points.in_force())
        self._limits = {
            each.name: TypeLimits(running=each.limits.running, running_per_tenant=each.limits.running_per_tenant)
            for each in REGISTRY
        }

    def run(self) -> None:
        """Schedule until SIGTERM."""
        with across_tenants():
            loop.run(role="scheduler", step=self.step, channel=CHANNEL)

    def step(self) -> float:
        """Look once: release what is due, sweep when it is time, fill the free slots; return the seconds to rest.

        With the broker away nothing is dispatched: a slot held for a message that cannot be sent would serve nobody.
        """
        now = time.monotonic()
        if now - self._swept_at >= SWEEP_EVERY_S:
            self._swept_at = now
            self.sweep()
        release_due(limit=1000)
        self._admission.look()
        self._broker.look()
        again = not self._broker.away and now >= self._broker_back_at and self.fill()
        return 0.0 if again or self._broker.releasing else LOOK_EVERY_S

    def fill(self) -> bool:
        """Dispatch into every environment as many jobs as it has room for; return whether to look again at once.

        What was dispatched may have brought a key or type to its limit: then there is more to see behind what it bars.
        """
        again = False
        holding = queries.holding()
        by_tenant = {each.tenant_id: TenantShare(weight=each.weight, max_running=each.max_running) for each in shares()}
        by_tenant = self._admission.shares(by_tenant)
        for pool in queries.pools():
            free = pool.capacity - sum(held.environment == pool.name for held in holding)
            if free <= 0:
                continue
            past = barred(holding=holding, limits=self._limits)
            waiting = queries.next_waiting(environment=pool.name, per_tenant=free + 32, past=self._admission.past(past))
            waiting = self._admission.permitted(waiting)
            chosen = choose(pool=pool, waiting=waiting, holding=holding, shares=by_tenant, limits=self._limits)
            made = dispatch([job.job_id for job in chosen])
            self._admission.note([each.job_id for each in made])
            facts = {job.job_id: job for job in chosen}
            holding += [
                Holding(pool.name, facts[each.job_id].tenant_id, each.type, facts[each.job_id].concurrency_key)
                for each in made
            ]
            if made and not self._publish(made, queue=queries.queue_of(pool.name)):
                return False
            again = again or past != barred(holding=holding, limits=self._limits)
        return again

    def _publish(self, dispatched: Sequence[Dispatched], *, queue: str) -> bool:
        """Tell the pool's workers; return whether the broker took it. What it did not take is queued again."""
        key = keys.message_key()
        try:
            with self._app.producer_or_acquire() as producer, producer.batch():
                for each in dispatched:
                    self._app.send_task(
                        each.type,
                        args=(
                            str(each.job_id),
                            each.fence,
                            sign(task=each.type, job_id=each.job_id, fence=each.fence, key=key),
                        ),
                        task_id=f"{each.job_id}.{each.fence}",
                        queue=queue,
                        producer=producer,
                        time_limit=each.timeout_s + KILL_AFTER_S,
                        argsrepr="-",
                        kwargsrepr="-",
                        retry=False,
                    )
        except (KombuError, OSError, *self._refusals) as error:
            self._broker_pause_s = min(max(self._broker_pause_s * 2, BROKER_PAUSE_S[0]), BROKER_PAUSE_S[1])
            self._broker_back_at = time.monotonic() + self._broker_pause_s
            log.warning("unpublished", error=type(error).__name__, jobs=len(dispatched), pause_s=self._broker_pause_s)
            recover.unpublished([(each.job_id, each.fence) for each in dispatched], retry_of=retry_of)
            self._broker.look(now=True)
            return False
        self._broker_pause_s = 0.0
        return True

    def sweep(self) -> None:
        """Bring back what is held by nobody, and end what is past its time: leases, dispatches, attempts, jobs."""
        gone = recover.expire_leases()
        lost = recover.hand_back_lost(retry_of=retry_of)
        unclaimed = recover.recall_unclaimed(retry_of=retry_of)
        overtime = recover.end_overtime(retry_of=retry_of)
        silent = recover.end_silent(retry_of=retry_of)
        deaf = recover.end_deaf(retry_of=retry_of)
        overdue = recover.end_overdue(retry_of=retry_of)
        if withdrawn := self._admission.withdraw():
            log.warning("entitlement_withdrawn", jobs=[str(job_id) for job_id in withdrawn])
        ended = {"lost": lost, "unclaimed": unclaimed, "overtime": overtime, "silent": silent, "deaf": deaf}
        if gone or overdue or any(ended.values()):
            log.warning("swept", gone=gone, overdue=_ids(overdue), **{name: _ids(ids) for name, ids in ended.items()})


def _ids(ended: set[tuple[UUID, int]]) -> list[str]:
    return [f"{job_id}.{fence}" for job_id, fence in sorted(ended)]
