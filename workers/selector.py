"""The choice before each dispatch: brings what waits and what is held to the pure decisions, and remembers.

What it remembers (virtual times, who waits, who is parked) is a convenience: another leader finds it in the database
again, and no limit rests on it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from apps.core.rate import parse_rate
from apps.jobs import roster as rosters
from apps.jobs import selection
from apps.jobs.fairness import Dispatch, Ledger, Line
from apps.jobs.operations import rates
from apps.jobs.roster import Roster
from apps.jobs.scheduling import (
    NO_LIMITS,
    Gate,
    Held,
    Holding,
    Lane,
    Pool,
    Shares,
    TenantShare,
    TypeLimits,
    Waiting,
    choose,
    gate_of,
    rates_of,
    tenant_may,
)
from apps.subscription import queries as subscription
from workers.look import Heads, Look

SHARES_EVERY_S = 1.0
# Tenants whose queues are read at a time, and how often in one look: what a decision costs at most.
CHUNK = 64
CHUNKS = 6
FEW = 8
# At a start, what the last minute's attempts took stands for what the leader before had in mind.
REMEMBER_S = 60.0
REMEMBER_ATTEMPTS = 5000
# Nothing of a tenant that is barred for one of these may run in any environment, whatever comes free there.
PARKED_FOR = ("tenant_limit", "tenant_rate")


def tenants_shares() -> dict[str, TenantShare]:
    """Return the share of every subscribed tenant, as its plan says."""
    return {
        each.tenant_id: TenantShare(
            weight=each.weight,
            max_running=each.max_running,
            rate=None if each.rate is None else parse_rate(each.rate),
        )
        for each in subscription.shares()
    }


class KnownShares:
    """Every tenant's share as last read: a look must not cost more where more tenants are subscribed."""

    def __init__(self) -> None:
        self._known: dict[str, TenantShare] = {}
        self._read_at = -math.inf

    def now(self) -> dict[str, TenantShare]:
        """Return the shares, at most `SHARES_EVERY_S` old."""
        if time.monotonic() - self._read_at >= SHARES_EVERY_S:
            self._read_at = time.monotonic()
            self._known = tenants_shares()
        return self._known


@dataclass(kw_only=True)
class Choice:
    """The jobs to dispatch, in order; who of their tenants is new; whether more may be found at once.

    `left`: somebody is left waiting, as far as is known.
    """

    jobs: list[Waiting] = field(default_factory=list)
    newcomers: frozenset[str] = frozenset()
    again: bool = False
    left: bool = False


class Selector:
    """Chooses for every environment; one process's memory between looks."""

    def __init__(self, *, limits: Mapping[str, TypeLimits]) -> None:
        self._limits = limits
        self._ledger = Ledger()
        self._rosters: dict[str, Roster] = {}
        self._shares: Mapping[str, TenantShare] = {}
        self._gates: Sequence[Gate] = ()
        self._begun = False

    def begin(self) -> None:
        """Forget all, and begin from what the database tells: call when leadership is taken."""
        self._ledger, self._rosters, self._begun = Ledger(), {}, False

    def observe(
        self, *, holding: Iterable[Holding], known: Mapping[str, TenantShare], gates: Sequence[Gate] = ()
    ) -> None:
        """Take in the leases, shares and gates of this look: virtual times are set right by what has ended."""
        holding = list(holding)
        if known is not self._shares or not self._begun:
            self._ledger.weigh({tenant_id: share.weight for tenant_id, share in known.items()})
        self._shares, self._gates = known, gates
        if not self._begun:
            self._ledger.rebuild(selection.used(seconds=REMEMBER_S, limit=REMEMBER_ATTEMPTS))
            self._begun = True
        over = self._ledger.see(holding)
        ended = self._ledger.settle(over, took=selection.took(over))
        changed = ended | {held.tenant_id for held in holding}
        for environment, roster in self._rosters.items():
            line = self._ledger.line(environment)
            roster.moved(changed, tag=line.tag)
            roster.unpark_these(ended, tag=line.begin)
            line.turn_back(roster.first_tag)

    def discover(self, environments: Iterable[str], *, held: Held) -> None:
        """Bring in, for each of these, the next slice of those who wait, and who has just begun to."""
        after = {environment: self._roster(environment).after for environment in environments}
        if not after:
            return
        found = selection.waiting_tenants(after=after, limit=rosters.SLICE)
        for environment, tenants in found.items():
            self._rosters[environment].found(tenants)
        if any(self._rosters[environment].after for environment in after):
            for environment, tenant_id in selection.newest_tenants():
                found.get(environment, []).append(tenant_id)
        for environment, tenants in found.items():
            roster, line = self._rosters[environment], self._ledger.line(environment)
            for tenant_id in tenants:
                if tenant_id not in roster:
                    line.begin(tenant_id)
                    busy = held.pool_tenant[environment, tenant_id] > 0
                    roster.enter(tenant_id, tag=line.tag(tenant_id), busy=busy)

    def choose(self, *, pool: Pool, free: int, held: Held, newcomers_only: bool = False) -> Choice:
        """Return up to `free` jobs of `pool`, fairly and within every limit; they are counted in `held`.

        Chosen among those who were discovered. A look examines at most `CHUNK * CHUNKS` tenants, those with the lowest
        virtual times first.
        """
        roster, line = self._roster(pool.name), self._ledger.line(pool.name)
        roster.unpark(tag=line.begin)
        look = Look(pool=pool, free=free, held=held, roster=roster, shares=self._choosing(line))
        for n in range(CHUNKS):
            if look.room <= 0:
                break
            count = CHUNK if n else min(CHUNK, max(look.room, FEW))
            tenants = roster.take_newcomers(count) if newcomers_only else roster.take(count)
            if not tenants and roster.unfinished and not newcomers_only:
                roster.unpark(CHUNK, tag=line.begin)
                tenants = roster.take(CHUNK)
            if not tenants:
                break
            self._examine(tenants, look=look)
        hungry = look.room > 0 and not newcomers_only
        again = look.more or (hungry and (roster.unfinished or roster.first_tag < math.inf))
        for tenant_id in look.done:
            roster.line_up(tenant_id, tag=line.tag(tenant_id))
        self._ledger.forget(pool.name, keep=self._shares)
        left = look.left or len(roster) > sum(tenant_id in roster for tenant_id in look.examined)
        return Choice(jobs=look.chosen, newcomers=roster.newcomers, again=again, left=left)

    def nobody_waits(self) -> None:
        """Forget who waited: nothing is queued anywhere."""
        self._rosters.clear()

    def waiting_weight(self, environment: str) -> float:
        """Return the weight of the tenants that wait there, together, as far as it is known."""
        roster = self._rosters.get(environment)
        return float(sum(share.weight for name, share in self._shares.items() if roster is not None and name in roster))

    def handed_out(self, jobs: Iterable[tuple[Dispatch, Waiting]], *, environment: str) -> None:
        """Charge what was dispatched, in order, to its tenants."""
        roster = self._rosters[environment]
        line = self._ledger.line(environment)
        served = set()
        for dispatch, job in jobs:
            self._ledger.hand_out(dispatch, environment=environment, tenant_id=job.tenant_id, job_type=job.type)
            served.add(job.tenant_id)
        roster.served(served)
        roster.moved(served, tag=line.tag)

    def _roster(self, environment: str) -> Roster:
        return self._rosters.setdefault(environment, Roster())

    def _choosing(self, line: Line) -> Shares:
        def cost_s(job: Waiting) -> float:
            return self._ledger.estimate_s(tenant_id=job.tenant_id, job_type=job.type)

        return Shares(tenants=self._shares, limits=self._limits, tag=line.tag, cost_s=cost_s)

    def _examine(self, tenants: Sequence[str], *, look: Look) -> None:
        """Choose among the jobs of these tenants, and say of each where it stands then."""
        pool, held, shares = look.pool, look.held, look.shares
        exhausted: set[str] = set()
        self._count_tokens(tenants, held=held)
        barred = {
            tenant_id: why
            for tenant_id in tenants
            if (why := tenant_may(tenant_id, pool=pool, held=held, share=shares.of(tenant_id))) is not None
        }
        lanes = selection.lanes(environment=pool.name, tenants=[each for each in tenants if each not in barred])
        moving = [lane for lane in lanes if self._moves(lane, held=held)]
        heads = Heads(look, lanes=moving, of=len(tenants))
        may_move = {job.tenant_id for job in heads.jobs}
        while True:
            chosen = choose(
                pool=pool,
                free=look.room,
                waiting=heads.jobs,
                held=held,
                shares=replace(shares, tag=look.tag),
                horizon=look.roster.first_tag,
                partly=heads.partly,
            )
            look.take(chosen, cut=heads.cut)
            exhausted |= chosen.exhausted
            if chosen.short is None:
                break
            still = [lane for lane in lanes if lane.tenant_id == chosen.short and self._moves(lane, held=held)]
            if not heads.read_on(chosen.short, lanes=still):
                exhausted.add(chosen.short)
        have_jobs = {lane.tenant_id for lane in lanes}
        look.examined.update(tenants)
        look.left = look.left or bool(barred) or len(moving) < len(lanes) or heads.leave_any()
        for tenant_id in tenants:
            if tenant_id in barred:
                look.roster.park(tenant_id) if barred[tenant_id] in PARKED_FOR else look.done.add(tenant_id)
            elif tenant_id not in have_jobs:
                look.roster.gone(tenant_id)
            elif tenant_id in may_move and tenant_id not in exhausted:
                look.roster.line_up(tenant_id, tag=look.tag(tenant_id))
            elif look.tags.get(tenant_id) is not None:
                look.done.add(tenant_id)
            else:
                look.roster.park(tenant_id)

    def _count_tokens(self, tenants: Sequence[str], *, held: Held) -> None:
        """Read what is left in the buckets of these tenants, where they have a rate, once a look.

        Of these alone: ten thousand tenants with a rate cost a look no more than the few whose turn it is.
        """
        rated = rates_of(tenants, shares=self._shares)
        held.tokens |= rates.left({bucket: rate for bucket, rate in rated.items() if bucket not in held.tokens})
        held.rates |= rated

    def _moves(self, lane: Lane, *, held: Held) -> bool:
        limits = self._limits.get(lane.type, NO_LIMITS)
        return (
            gate_of(lane, gates=self._gates) is None
            and held.closed(tenant_id=lane.tenant_id, job_type=lane.type, limits=limits) is None
        )
