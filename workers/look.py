"""One look at one environment, and the jobs at hand: of each lane the first few, and more where they run short."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from apps.jobs import selection
from apps.jobs.roster import Roster
from apps.jobs.scheduling import Chosen, Held, Lane, Pool, Shares, Waiting, turn


@dataclass(kw_only=True)
class Look:
    """One look at one environment, as it goes on."""

    pool: Pool
    free: int
    held: Held
    roster: Roster
    shares: Shares
    chosen: list[Waiting] = field(default_factory=list)
    tags: dict[str, float] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    examined: set[str] = field(default_factory=set)
    left: bool = False
    more: bool = False

    @property
    def room(self) -> int:
        """Return how many jobs may still be chosen."""
        return self.free - len(self.chosen)

    def tag(self, tenant_id: str) -> float:
        """Return a tenant's virtual time, with what was chosen in this look."""
        return self.tags.get(tenant_id, self.shares.tag(tenant_id))

    def take(self, chosen: Chosen, *, cut: bool) -> None:
        """Take in what a choice came to; `cut`: more may be found behind what was at hand."""
        self.chosen += chosen.jobs
        self.tags |= chosen.tags
        self.more = self.more or (cut and bool(chosen.jobs))


class Heads:
    """The first jobs of the lanes of `of` tenants, as many as they may need; of whom that was too few, more is read."""

    def __init__(self, look: Look, *, lanes: Sequence[Lane], of: int) -> None:
        self._look = look
        self.jobs: list[Waiting] = []
        self.partly: set[str] = set()
        self.cut = False
        # Those already chosen in this look are still first in their lanes.
        tenants = {lane.tenant_id for lane in lanes}
        chosen = Counter(job.tenant_id for job in look.chosen if job.tenant_id in tenants)
        self._limits: dict[str, int] = {}
        self._limit = math.ceil(look.room / of) + 1 + max(chosen.values(), default=0)
        self._read(lanes, limit=self._limit)

    def read_on(self, tenant_id: str, *, lanes: Sequence[Lane]) -> bool:
        """Read four times as many jobs of `lanes`, all of this tenant; return whether there are any to choose from.

        Never more than there is room for, beside those that were chosen: that is what a look may cost.
        """
        chosen = {job.job_id for job in self._look.chosen}
        self.jobs = [job for job in self.jobs if job.tenant_id != tenant_id and job.job_id not in chosen]
        self.partly.discard(tenant_id)
        own = sum(job.tenant_id == tenant_id for job in self._look.chosen)
        read = self._limits.get(tenant_id, self._limit)
        limit = self._limits[tenant_id] = min(4 * read, max(self._look.room + own, read) + 1)
        before = len(self.jobs)
        self._read(lanes, limit=limit)
        return len(self.jobs) > before

    def leave_any(self) -> bool:
        """Say whether jobs wait in these lanes that were not chosen."""
        chosen = {job.job_id for job in self._look.chosen}
        return bool(self.partly) or self.cut or any(job.job_id not in chosen for job in self.jobs)

    def _read(self, lanes: Sequence[Lane], *, limit: int) -> None:
        """Read the heads of these lanes; of a tenant, none whose turn is after one that was not read."""
        found = selection.heads(environment=self._look.pool.name, lanes=lanes, limit=limit)
        ends = defaultdict[tuple[str, str, int], list[tuple[float, UUID]]](list)
        for job in found:
            if job.concurrency_key is None:
                ends[job.tenant_id, job.type, job.priority].append(turn(job))
        last: dict[str, tuple[float, UUID]] = {}
        for (tenant_id, _, _), turns in ends.items():
            if len(turns) >= limit:
                last[tenant_id] = min(max(turns), last.get(tenant_id, max(turns)))
        self.partly |= last.keys()
        found += self._behind_taken_keys(found)
        chosen = {job.job_id for job in self._look.chosen}
        self.jobs += [
            job
            for job in found
            if job.job_id not in chosen and (job.tenant_id not in last or turn(job) <= last[job.tenant_id])
        ]

    def _behind_taken_keys(self, found: Sequence[Waiting]) -> list[Waiting]:
        """Read the first job of each free key, of lanes whose first jobs all have keys that are in use."""
        held = self._look.held
        keyed = Counter((job.tenant_id, job.type, job.priority) for job in found if job.concurrency_key is not None)
        clogged = {key[:2] for key, count in keyed.items() if count >= selection.KEYED_LOOK}
        self.cut = self.cut or bool(clogged)
        clogged -= {(job.tenant_id, job.type) for job in found if job.concurrency_key and not held.key_taken(job)}
        tenants = {tenant_id for tenant_id, _ in clogged}
        taken = [key for key, count in held.key.items() if count > 0 and key[0] in tenants]
        return selection.heads_of_free_keys(environment=self._look.pool.name, of=clogged, taken=taken)
