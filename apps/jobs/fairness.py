"""Fair shares of worker-seconds: start-time fair queueing, a virtual time for each tenant in each environment.

A tenant's virtual time is the worker-seconds it was given, divided by its weight. The next lease goes to the waiting
tenant whose time is lowest. A lease is charged as it is handed out, by what jobs of its kind usually take; while it
runs longer than that it is charged on, and when it ends what it really took is set right. The environment's own time is
that of whom it served last. Who begins to wait starts there: nobody saves up credit by being away, and nobody sheds
what it owes by going away. Values in, values out: no clock, no database.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from apps.jobs.scheduling import Holding

UNKNOWN_S = 1.0
# How much of the newest duration an estimate takes over.
LEARNING = 0.2
# More tags than this beside those in use are cleared of what says nothing any more.
SPARE_TAGS = 1000

Dispatch = tuple[UUID, int]


class Charge(NamedTuple):
    """What a live lease was charged so far."""

    environment: str
    tenant_id: str
    type: str
    seconds: float


@dataclass(kw_only=True)
class Line:
    """One environment: its own virtual time and its tenants'."""

    now: float = 0.0
    tags: dict[str, float] = field(default_factory=dict)

    def tag(self, tenant_id: str) -> float:
        """Return the tenant's virtual time: where it stands, or where it would begin."""
        return self.tags.get(tenant_id, self.now)

    def turn_back(self, first: float) -> None:
        """Never be ahead of whose turn it is, at `first`: what it was charged too much was given back to it.

        Whoever began to wait would otherwise stand behind all that this buys.
        """
        self.now = min(self.now, first)

    def begin(self, tenant_id: str) -> float:
        """Let a tenant begin to wait, or to be able to run: never behind the environment's own time."""
        tag = self.tags[tenant_id] = max(self.tag(tenant_id), self.now)
        return tag


class Ledger:
    """The virtual times of all environments, and what each live lease was charged."""

    def __init__(self) -> None:
        self._lines: dict[str, Line] = {}
        self._charged: dict[Dispatch, Charge] = {}
        self._estimates: dict[tuple[str, str], float] = {}
        self._weights: Mapping[str, int] = {}

    def line(self, environment: str) -> Line:
        """Return an environment's times."""
        return self._lines.setdefault(environment, Line())

    def weigh(self, weights: Mapping[str, int]) -> None:
        """Use these weights from now on."""
        self._weights = weights

    def estimate_s(self, *, tenant_id: str, job_type: str) -> float:
        """Return what a job of this kind is expected to take: the tenant's own experience, else everybody's."""
        found = self._estimates.get((tenant_id, job_type))
        return found if found is not None else self._estimates.get(("", job_type), UNKNOWN_S)

    def hand_out(self, dispatch: Dispatch, *, environment: str, tenant_id: str, job_type: str) -> None:
        """Charge a lease as it is handed out."""
        line = self.line(environment)
        line.now = max(line.now, line.tag(tenant_id))
        seconds = self.estimate_s(tenant_id=tenant_id, job_type=job_type)
        self._charged[dispatch] = Charge(environment, tenant_id, job_type, seconds)
        self._add(environment, tenant_id, seconds)

    def see(self, holding: Iterable[Holding]) -> list[Dispatch]:
        """Charge what runs longer than expected; return which leases are over and have to be set right.

        A lease that this ledger did not hand out (a leader before did) is charged as it is seen.
        """
        live = set()
        for held in holding:
            key = (held.job_id, held.fence)
            live.add(key)
            charge = self._charged.get(key)
            if charge is None:
                seconds = max(self.estimate_s(tenant_id=held.tenant_id, job_type=held.type), held.running_s)
                self._charged[key] = Charge(held.environment, held.tenant_id, held.type, seconds)
                self._add(held.environment, held.tenant_id, seconds)
            elif held.running_s > charge.seconds:
                self._add(charge.environment, charge.tenant_id, held.running_s - charge.seconds)
                self._charged[key] = charge._replace(seconds=held.running_s)
        return [key for key in self._charged if key not in live]

    def settle(self, ended: Iterable[Dispatch], *, took: Mapping[Dispatch, float]) -> set[str]:
        """Set right what ended leases were charged; return whose they were. One whose end is unknown cost nothing."""
        tenants = set()
        for key in ended:
            charge = self._charged.pop(key)
            seconds = took.get(key, 0.0)
            self._add(charge.environment, charge.tenant_id, seconds - charge.seconds)
            if seconds > 0:
                self.learn(tenant_id=charge.tenant_id, job_type=charge.type, seconds=seconds)
            tenants.add(charge.tenant_id)
        return tenants

    def learn(self, *, tenant_id: str, job_type: str, seconds: float) -> None:
        """Take a measured duration into the estimates."""
        for key in ((tenant_id, job_type), ("", job_type)):
            before = self._estimates.get(key, seconds)
            self._estimates[key] = before + LEARNING * (seconds - before)

    def rebuild(self, used: Iterable[tuple[str, str, str, int, float]]) -> None:
        """Begin from what was measured lately: (environment, tenant, type, attempts, worker-seconds).

        Who used least stands at the environment's time and the others ahead of it by what they used beyond that: a
        restart neither forgives nor gives away more than those minutes held.
        """
        for environment, tenant_id, job_type, attempts, seconds in used:
            self._add(environment, tenant_id, seconds)
            self.learn(tenant_id=tenant_id, job_type=job_type, seconds=seconds / attempts)
        for line in self._lines.values():
            least = min(line.tags.values(), default=0.0)
            line.now = 0.0
            line.tags = {tenant_id: tag - least for tenant_id, tag in line.tags.items()}

    def forget(self, environment: str, *, keep: Mapping[str, object]) -> None:
        """Drop the times outside `keep` that the environment's own has passed: they would begin there anyway."""
        line = self.line(environment)
        if len(line.tags) > 2 * len(keep) + SPARE_TAGS:
            line.tags = {name: tag for name, tag in line.tags.items() if name in keep or tag > line.now}

    def _add(self, environment: str, tenant_id: str, seconds: float) -> None:
        line = self.line(environment)
        line.tags[tenant_id] = line.tag(tenant_id) + seconds / max(self._weights.get(tenant_id, 1), 1)
