"""Bundles: which dispatches travel to a worker in one message. Decisions only: values in, values out.

A message, a claim and an end cost what they cost whether they are about one job or many. Short jobs of one type
therefore travel together, as many as fill `WORK_S`; long ones, and those whose length nobody knows yet, travel alone.
The work that lies ahead of a new message is then bounded: a child is busy for `WORK_S` with short jobs, so one bundle
more than there are children keeps them all busy, and nobody who comes later waits longer than that. Where children are
reserved, whoever comes new finds one idle.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

# Measured: with children + 1 bundles under way a newcomer waits until the next child is free; 40 ms keeps it below 100.
WORK_S = 0.04
MOST_JOBS = 200
# What a message costs in all, about: less work than this is not worth another.
MESSAGE_S = 0.005


class Candidate(NamedTuple):
    """A job that may be dispatched. `alone`: it was in a bundle that was lost, and may be why."""

    job_id: UUID
    tenant_id: str
    type: str
    alone: bool = False


class Flying(NamedTuple):
    """A bundle that is under way: its type, and whose jobs it holds."""

    type: str
    tenants: frozenset[str]


@dataclass(kw_only=True)
class Bundle:
    """Jobs of one type for one message. `express`: it goes ahead of those that wait in the broker's queue."""

    type: str
    room: int
    express: bool = False
    jobs: list[UUID] = field(default_factory=list)


def size_for(pace_s: float | None, *, most: int = MOST_JOBS) -> int:
    """Return how many jobs that take `pace_s` each travel together; one where that is not known."""
    if pace_s is None:
        return 1
    return max(1, min(most, int(WORK_S / max(pace_s, WORK_S / most))))


def short_types(paces: Mapping[str, float], *, most: int = MOST_JOBS) -> frozenset[str]:
    """Return the types whose jobs travel together; a job of any other holds its child until it ends."""
    return frozenset(name for name, pace_s in paces.items() if size_for(pace_s, most=most) > 1)


def kept_by_long_jobs(
    *, long: Collection[str], children: int, reserved: int, tenant_id: str, is_long: bool
) -> str | None:
    """Return the gate that keeps a tenant's next job from the children until a long job ends, as `pack` does.

    `long`: whose the long jobs under way are, a tenant for each. `is_long`: the next one would be another.
    """
    if len(long) >= children:
        return "workers_busy"
    load = _Load([Flying("", frozenset({each})) for each in long], sizes={"": 1}, children=children, reserved=reserved)
    return None if load.has_room(long=is_long, tenant_id=tenant_id) else "reserved_worker"


def first_end_s(running: Iterable[tuple[str, float]], *, paces: Mapping[str, float]) -> float | None:
    """Return in how many seconds the first of the jobs may end: (type, seconds it has run); None: there is none.

    At its type's pace; where nobody knows that, or it is past, it may run for as long again as it has run.
    """
    left = (paces[name] - ran_s if paces.get(name, 0.0) > ran_s else ran_s for name, ran_s in running)
    return min(left, default=None)


def jobs_to_choose(*, flying: int, children: int, paces: Mapping[str, float], most: int = MOST_JOBS) -> int:
    """Return how many jobs a look can use: for the bundles that still fit, as large as they come, and for newcomers."""
    if not children:
        return 0
    largest = max((size_for(pace_s, most=most) for pace_s in paces.values()), default=1)
    free = max(0, children + 1 - flying)
    return free * largest + (children if flying <= 2 * children else 0)


def spread(count: int, *, among: int, most: int) -> list[int]:
    """Return the sizes of the first bundles of `count` jobs, the first one last.

    While children have nothing to do, few jobs are better spread among them than run one after the other by one, if
    they are worth a message each.
    """
    each, more = divmod(count, among)
    return [min(most, each + (place < more)) for place in reversed(range(among)) if each + (place < more)]


def pack(
    chosen: Sequence[Candidate],
    *,
    paces: Mapping[str, float],
    flying: Sequence[Flying],
    children: int,
    reserved: int = 0,
    newcomers: Collection[str] = (),
    most: int = MOST_JOBS,
) -> list[Bundle]:
    """Return `chosen`, jobs in the order of their turns, as bundles; whom there is no room for is left out.

    `paces`: seconds a job of each type takes, where known. `children`: processes that serve the pool. `reserved`: so
    many of them are kept from a tenant that is being served, for who comes next. `newcomers`: tenants whose first job
    now comes; it travels by itself, ahead of the queue, and beyond the bundles that are under way.
    """
    sizes = {
        name: size_for(paces.get(name), most=most)
        for name in {job.type for job in chosen} | {each.type for each in flying}
    }
    idle = max(1, children - len(flying))
    rooms = {}
    for name, count in Counter(job.type for job in chosen).items():
        worth = math.ceil(count * paces.get(name, WORK_S) / MESSAGE_S)
        rooms[name] = spread(count, among=max(1, min(idle, worth)), most=sizes[name])
    load = _Load(flying, sizes=sizes, children=children, reserved=reserved)
    greeted: set[str] = set()
    open_bundles: dict[str, Bundle] = {}
    made: list[Bundle] = []
    for job in chosen:
        long = sizes[job.type] == 1
        express = job.tenant_id in newcomers and job.tenant_id not in greeted and load.has_room_for_express(long=long)
        bundle = None if job.alone or express else open_bundles.get(job.type)
        if bundle is None:
            if not express and not load.has_room(long=long, tenant_id=job.tenant_id):
                load.owe(long=long, tenant_id=job.tenant_id)
                continue
            room = 1 if job.alone or express else rooms[job.type].pop() if rooms[job.type] else sizes[job.type]
            bundle = Bundle(type=job.type, room=room, express=express)
            made.append(bundle)
            load.add(long=long, tenant_id=job.tenant_id)
            if express:
                greeted.add(job.tenant_id)
            elif room > 1:
                open_bundles[job.type] = bundle
        bundle.jobs.append(job.job_id)
        if len(bundle.jobs) >= bundle.room and open_bundles.get(job.type) is bundle:
            del open_bundles[job.type]
    return made


class _Load:
    """What is under way, and whether a further bundle may join it."""

    def __init__(self, flying: Sequence[Flying], *, sizes: Mapping[str, int], children: int, reserved: int) -> None:
        self._children = children
        self._reserved = reserved
        self._most_of_one = max(1, children - reserved)
        self._bundles = len(flying)
        self._owed = 0
        self._long = [each.tenants for each in flying if sizes[each.type] == 1]
        self._served = {tenant_id for each in flying for tenant_id in each.tenants}

    def has_room(self, *, long: bool, tenant_id: str) -> bool:
        """Say whether one more ordinary bundle may be sent.

        A long one only to a child of its own: one that waited behind another would hold its slot for nothing. A short
        one may wait, since what it waits for is short; but not where every child is at something long. Nor does one
        wait whose tenant is being served, where children are reserved: two at the least it may have.
        """
        if long:
            held = sum(tenant_id in tenants for tenants in self._long)
            return self._bundles < self._children and held < self._most_of_one
        if self._reserved and tenant_id in self._served:
            return self._bundles + self._owed < max(2, self._most_of_one) and len(self._long) < self._children
        return self._bundles + self._owed <= self._children and len(self._long) < self._children

    def owe(self, *, long: bool, tenant_id: str) -> None:
        """Keep the next child that comes free for a long job there was none for: short ones would take each in turn."""
        if long and sum(tenant_id in tenants for tenants in self._long) < self._most_of_one:
            self._owed += 1

    def has_room_for_express(self, *, long: bool) -> bool:
        """Say whether a newcomer's first job may be sent beyond what is under way; it soon finds a child."""
        if long:
            return False
        most = self._children - self._owed if self._owed else 2 * self._children
        return self._bundles <= most and len(self._long) < self._children

    def add(self, *, long: bool, tenant_id: str) -> None:
        """Count a bundle that will be sent."""
        self._bundles += 1
        self._served.add(tenant_id)
        if long:
            self._long.append(frozenset({tenant_id}))
