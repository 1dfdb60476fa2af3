"""The scheduler: picks what runs next, fairly and within limits, gives it a slot and a fence, and tells a worker.

It is woken by submissions and finished jobs and looks by itself each second. It also sweeps: what it handed out and
nobody claimed, or a worker holds that is gone, comes back from here, and so needs no broker to be found.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from kombu.exceptions import KombuError

from apps.core.rate import parse_rate
from apps.jobs import bundling, flight, points, queries
from apps.jobs.bundling import Bundle, Candidate, Flying
from apps.jobs.environments import pauses_in_force
from apps.jobs.operations import leadership, pauses, rates, recover, shedding
from apps.jobs.operations.dispatch import Dispatched, dispatch, release_due
from apps.jobs.operations.news import tell
from apps.jobs.operations.wake import CHANNEL
from apps.jobs.pausing import pause_gate
from apps.jobs.scheduling import (
    Gate,
    Held,
    Lane,
    Pool,
    TenantShare,
    TypeLimits,
    Waiting,
    bucket_names,
    rates_of,
    type_bucket,
)
from apps.jobs.types import REGISTRY
from apps.tenancy import keys
from apps.tenancy.context import across_tenants
from workers import gatekeeper, loop
from workers.admission import Admission
from workers.broker import Broker, refusals
from workers.message import Message
from workers.paces import Paces
from workers.policies import retry_of
from workers.selector import KnownShares, Selector

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 1.0
SWEEP_EVERY_S = 2.0
TOLD_AT_ONCE = 200
RELEASED_AT_ONCE = 1000
# Beyond its time-out an attempt has the sweeper's grace, then the pool kills the process that would not stop.
KILL_AFTER_S = recover.OVERTIME_S + 5
BROKER_PAUSE_S = (0.5, 5.0)
# Kombu's Redis transport reads the lists of smaller numbers first.
AHEAD, IN_TURN = 0, 6
GATHER_S, FEW = 0.03, 16


class Scheduler:
    """One process's state between looks: nothing that the database does not know better."""

    def __init__(self, *, app: Any) -> None:
        self._app = app
        self._swept_at = self._noted_at = 0.0
        self._broker = Broker(app=app)
        self._refusals = refusals(app)
        # Whether the last look found a few jobs and left none behind, whose they or those under way are, and when.
        self._looked_at, self._streaming, self._served = 0.0, False, set[str]()
        self._tokens_in_s = math.inf
        self._paces = Paces()
        self._most = settings.ENVIRONMENT.bundle_max
        self._broker_pause_s = 0.0
        self._broker_back_at = 0.0
        self._admission = Admission(points=points.in_force())
        self._limits = {
            each.name: TypeLimits(running=each.limits.running, running_per_tenant=each.limits.running_per_tenant)
            for each in REGISTRY
        }
        self._rates = {type_bucket(each.name): parse_rate(each.limits.rate) for each in REGISTRY if each.limits.rate}
        self._shares = KnownShares()
        self._selector = Selector(limits=self._limits)
        self._epoch = 0

    def run(self) -> None:
        """Schedule until SIGTERM."""
        with across_tenants():
            loop.run(role="scheduler", step=self.step, channel=CHANNEL, lull=self.lull)

    def step(self) -> float:
        """Look once: release what is due, tell of ends, sweep when it is time, fill the free slots; return the rest.

        With the broker away nothing is dispatched: a slot held for a message that cannot be sent would serve nobody.
        """
        now = time.monotonic()
        if now - self._swept_at >= SWEEP_EVERY_S:
            self._swept_at = now
            self.sweep()
        if now - self._noted_at >= LOOK_EVERY_S:
            self._noted_at = now
            gatekeeper.note(
                away=self._broker.away,
                awaited=self._admission.awaited(),
                limits=self._limits,
                rates_of_types=self._rates,
                shares=self._shares_now(),
                selector=self._selector,
                paces=self._paces.known(),
                most=self._most,
            )
        self._admission.look()
        self._broker.look()
        if not self._epoch:
            self._epoch = leadership.take_office(role="scheduler")
            self._selector.begin()
        pressing = queries.pressing()
        due_in_s = math.inf if pressing.due_in_s is None else pressing.due_in_s
        released = release_due(limit=RELEASED_AT_ONCE) if due_in_s <= 0 else 0
        told = tell(limit=TOLD_AT_ONCE) if pressing.news else 0
        self._looked_at, self._streaming, self._tokens_in_s = now, False, math.inf
        waits = pressing.queued or released or told
        if not waits:
            self._selector.nobody_waits()
        again = waits and not self._broker.away and now >= self._broker_back_at and self._filled()
        if again or told or released or self._broker.releasing:
            return 0.0
        return min(LOOK_EVERY_S, self._tokens_in_s, max(due_in_s, 0.02))

    def lull(self, said: Sequence[str]) -> float:
        """Return for how long more jobs may come before the next look; `said`: the tenants who submitted, or "".

        Whoever comes alone is looked at at once, and so is who holds nothing yet. Of a stream each job would cost a
        look, a message, a claim and an end of its own; gathered for a moment, several share them.
        """
        if not self._streaming or any(word and word not in self._served for word in said):
            return 0.0
        return self._looked_at + GATHER_S - time.monotonic()

    def _filled(self) -> bool:
        """Fill; whoever finds another in office goes back to asking whether it leads at all."""
        try:
            return self.fill()
        except leadership.OutOfOfficeError:
            log.warning("out_of_office", epoch=self._epoch)
            self._epoch = 0
            return False

    def fill(self) -> bool:
        """Dispatch into every environment as many jobs as it has room for; return whether to look again at once.

        What was dispatched may have brought a key or type to its limit: then there is more to see behind what it bars.
        """
        holding, paces = queries.holding(), self._paces.known()
        again, few, served = False, True, set[str]()
        flying, held = flight.flying(holding), Held(holding, tokens=rates.left(self._rates), rates=self._rates)
        shares = self._shares_now()
        pools = queries.pools()
        self._selector.observe(holding=holding, known=shares, gates=self._gates(pools, flying=flying, paces=paces))
        rooms = []
        for pool in pools:
            under_way = len(flying.get(pool.name, []))
            room = bundling.jobs_to_choose(flying=under_way, children=pool.children, paces=paces, most=self._most)
            rooms.append((pool, min(room, pool.capacity - held.pool[pool.name])))
        self._selector.discover([pool.name for pool, free in rooms if free > 0], held=held)
        for pool, free in rooms:
            if free <= 0:
                few = few and not flying.get(pool.name)
                continue
            here = flying.get(pool.name, [])
            # Beyond what keeps every child busy, only whoever comes new may still go ahead of what is under way.
            choice = self._selector.choose(pool=pool, free=free, held=held, newcomers_only=len(here) > pool.children)
            permitted = self._admission.permitted(choice.jobs)
            facts = {job.job_id: job for job in choice.jobs}
            bundles = bundling.pack(
                [Candidate(job.job_id, job.tenant_id, job.type, job.alone) for job in permitted],
                paces=paces,
                flying=here,
                children=pool.children,
                reserved=pool.reserved_slots,
                newcomers=choice.newcomers,
                most=self._most,
            )
            try:
                made = self._dispatch(bundles, facts=facts, shares=shares)
            except rates.OverRateError as error:
                log.warning("over_rate", bucket=error.bucket, wanted=error.wanted)
                for job in choice.jobs:
                    held.take_back(pool.name, job)
                self._admission.note([])
                return False
            sent = [each for bundle in made for each in bundle]
            served |= {job.tenant_id for job in choice.jobs}
            few = few and not choice.left and len(sent) == len(choice.jobs) < min(free, FEW)
            self._admission.note([each.job_id for each in sent])
            for job_id in facts.keys() - {each.job_id for each in sent}:
                held.take_back(pool.name, facts[job_id])
            self._selector.handed_out(
                [((each.job_id, each.fence), facts[each.job_id]) for each in sent], environment=pool.name
            )
            ahead = {job_id for bundle in bundles if bundle.express for job_id in bundle.jobs}
            if made and not self._publish(made, queue=pool.queue, ahead=ahead):
                return False
            if any(each.type not in paces for each in sent):
                self._paces.wanted()
            # Where what was left out kept others from an idle child: they are seen behind the gates that are shut now.
            idle = 0 < len(sent) < len(facts) and len(here) + len(made) < pool.children
            again = again or idle or (choice.again and (bool(sent) or not facts))
        self._streaming = few and not again and bool(served)
        self._tokens_in_s = held.refilled_s()
        self._served = served | {each.tenant_id for each in holding}
        return again

    def _gates(
        self, pools: Sequence[Pool], *, flying: Mapping[str, Sequence[Flying]], paces: Mapping[str, float]
    ) -> Sequence[Gate]:
        """Return what may hold whole lanes back in this look: one line for each gate, first the one to be named."""
        paused, shed = pauses_in_force(), shedding.gate()
        short = bundling.short_types(paces, most=self._most)
        long = {
            name: [tenant_id for each in bundles if each.type not in short for tenant_id in each.tenants]
            for name, bundles in flying.items()
        }
        crews = {pool.name: pool for pool in pools}

        def by_children(lane: Lane) -> str | None:
            pool = crews[lane.environment]
            return (
                None
                if lane.type in short
                else bundling.kept_by_long_jobs(
                    long=long.get(pool.name, ()),
                    children=pool.children,
                    reserved=pool.reserved_slots,
                    tenant_id=lane.tenant_id,
                    is_long=True,
                )
            )

        return (
            *((pause_gate(paused),) if paused else ()),
            *((shed,) if shed else ()),
            self._admission.gate,
            by_children,
        )

    def _shares_now(self) -> Mapping[str, TenantShare]:
        """Return every tenant's share as it is in force: as its plan says, or a remote Subscription."""
        return self._admission.shares(self._shares.now())

    def _dispatch(
        self, bundles: Sequence[Bundle], *, facts: Mapping[UUID, Waiting], shares: Mapping[str, TenantShare]
    ) -> list[list[Dispatched]]:
        """Dispatch in one statement with the proof that this process still leads; where rates apply, with their tokens.

        A process that was stopped between looking and dispatching, while another took over, gets nothing. Raises
        `OverRateError`, and dispatches nothing, where tokens were counted on that are not there.
        """
        if not bundles:
            return []
        wanted = [facts[job_id] for bundle in bundles for job_id in bundle.jobs]
        rated = self._rates | rates_of({job.tenant_id for job in wanted}, shares=shares)
        bundled = [bundle.jobs for bundle in bundles]
        if rated.keys().isdisjoint(bucket_names(wanted)):
            return dispatch(bundled, epoch=self._epoch)
        with transaction.atomic():
            made = dispatch(bundled, epoch=self._epoch)
            rates.take([facts[each.job_id] for bundle in made for each in bundle], rates=rated)
        return made

    def _publish(self, bundles: Sequence[Sequence[Dispatched]], *, queue: str, ahead: Collection[UUID]) -> bool:
        """Tell the pool's workers; return whether the broker took it. What it did not take is queued again.

        A bundle whose jobs are `ahead` goes before those that lie in the broker's queue.
        """
        key = keys.message_key()
        try:
            with self._app.producer_or_acquire() as producer, producer.batch():
                for bundle in bundles:
                    first = bundle[0]
                    message = Message(first.bundle_id, tuple((each.job_id, each.fence) for each in bundle))
                    self._app.send_task(
                        first.type,
                        args=message.args(task=first.type, key=key),
                        task_id=f"{first.job_id}.{first.fence}" if len(bundle) == 1 else str(first.bundle_id),
                        queue=queue,
                        producer=producer,
                        priority=AHEAD if first.job_id in ahead else IN_TURN,
                        time_limit=sum(each.timeout_s for each in bundle) + KILL_AFTER_S,
                        argsrepr="-",
                        kwargsrepr="-",
                        retry=False,
                    )
        except (KombuError, OSError, *self._refusals) as error:
            dispatched = [(each.job_id, each.fence) for bundle in bundles for each in bundle]
            self._broker_pause_s = min(max(self._broker_pause_s * 2, BROKER_PAUSE_S[0]), BROKER_PAUSE_S[1])
            self._broker_back_at = time.monotonic() + self._broker_pause_s
            log.warning("unpublished", error=type(error).__name__, jobs=len(dispatched), pause_s=self._broker_pause_s)
            recover.unpublished(dispatched, retry_of=retry_of)
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
        pauses.end_expired()
        if withdrawn := self._admission.withdraw():
            log.warning("entitlement_withdrawn", jobs=[str(job_id) for job_id in withdrawn])
        ended = {"lost": lost, "unclaimed": unclaimed, "overtime": overtime, "silent": silent, "deaf": deaf}
        if gone or overdue or any(ended.values()):
            log.warning("swept", gone=gone, overdue=_ids(overdue), **{name: _ids(ids) for name, ids in ended.items()})


def _ids(ended: set[tuple[UUID, int]]) -> list[str]:
    return [f"{job_id}.{fence}" for job_id, fence in sorted(ended)]
