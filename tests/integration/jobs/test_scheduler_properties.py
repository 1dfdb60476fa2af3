"""The whole scheduler under generated loads: selection, packing, dispatch. Limits hold, and no child idles in vain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.jobs.bundling import size_for
from apps.jobs.scheduling import TypeLimits
from tests.integration.conftest import Change, Control
from tests.integration.jobs.test_selection_properties import LEASES, LIMITS, SUBMITS, TENANTS, TYPES, WAITING, Submit
from tests.support.crew import Crew
from tests.support.queue import end, queue, tenants
from workers.selector import Selector

BUNDLES = """
SELECT array_agg(DISTINCT tenant_id), min(type), array_agg(job_id) FROM jobs WHERE status IN ('dispatched', 'running')
 GROUP BY coalesce(bundle_id, job_id) ORDER BY min(dispatched_at), coalesce(bundle_id, job_id)
"""
PACES = st.dictionaries(st.sampled_from(TYPES), st.sampled_from((0.0002, 0.004, 5.0)))
STEPS = st.lists(st.one_of(SUBMITS, SUBMITS, st.integers(1, 3)), min_size=3, max_size=12)


class World:
    """The scheduler, its children, and what must hold after every step."""

    def __init__(
        self,
        here: Crew,
        *,
        children: int,
        reserved: int,
        paces: Mapping[str, float],
        limits: Mapping[str, TypeLimits],
    ) -> None:
        self.here, self.session = here, here.session
        self.children, self.reserved, self.paces, self.limits = children, reserved, paces, limits

    def bundles(self) -> list[tuple[list[str], str, list[UUID]]]:
        return [tuple(row) for row in self.session.execute(BUNDLES.encode()).fetchall()]

    def take(self, step: Submit | int) -> None:
        """Let jobs come in, or so many of the oldest bundles end."""
        if isinstance(step, Submit):
            tenant, kind, priority, key, count = step
            queue(self.session, tenant=tenant, type=kind, priority=priority, key=key, count=count)
            return
        for _, kind, jobs in self.bundles()[:step]:
            end(self.session, dict.fromkeys(jobs, self.paces.get(kind, 1.0)))

    def check(self) -> None:
        """Assert that every limit holds, and that nothing waits for which a child is free."""
        leases = self.session.execute(LEASES.encode()).fetchall()
        of_tenant = Counter(tenant for tenant, _, _ in leases)
        of_type = Counter(kind for _, kind, _ in leases)
        of_both = Counter((tenant, kind) for tenant, kind, _ in leases)
        keys = Counter((tenant, key) for tenant, _, key in leases if key is not None)
        assert all(count <= TENANTS[tenant][1] for tenant, count in of_tenant.items())
        assert all(count == 1 for count in keys.values())
        bundles = self.bundles()
        at_long = Counter(tenant for names, kind, _ in bundles if self.long(kind) for tenant in names)
        most = max(1, self.children - self.reserved)
        for kind, limits in self.limits.items():
            assert limits.running is None or of_type[kind] <= limits.running
        if len(bundles) >= self.children:
            return
        for job_id, tenant, kind, key in self.session.execute(WAITING.encode()).fetchall():
            limits = self.limits.get(kind, TypeLimits())
            held_back = (
                of_tenant[tenant] >= TENANTS[tenant][1]
                or (limits.running is not None and of_type[kind] >= limits.running)
                or (limits.running_per_tenant is not None and of_both[tenant, kind] >= limits.running_per_tenant)
                or (key is not None and keys[tenant, key] > 0)
                or (self.long(kind) and at_long[tenant] >= most)
                or (self.reserved > 0 and of_tenant[tenant] > 0 and len(bundles) >= max(2, most))
            )
            assert held_back, f"{len(bundles)} of {self.children} busy while {job_id} of {tenant} ({kind}) waits"

    def long(self, kind: str) -> bool:
        return size_for(self.paces.get(kind)) == 1


@pytest.mark.timeout(300)
def test_limits_hold_and_no_child_idles_whatever_comes(
    crew: Callable[..., Crew], change: Change, superuser: psycopg.Connection, control: Control
) -> None:
    tenants(superuser, TENANTS)

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.integers(1, 4), st.integers(0, 1), PACES, LIMITS, STEPS)
    def run(
        children: int, reserved: int, paces: dict[str, float], limits: dict[str, TypeLimits], steps: list[Any]
    ) -> None:
        superuser.execute("TRUNCATE jobs, attempts CASCADE")
        superuser.execute("DELETE FROM processes")
        here = crew(children=children, reserved=reserved, known=(), paces=paces)
        here.scheduler._limits, here.scheduler._selector = limits, Selector(limits=limits)
        world = World(here, children=children, reserved=reserved, paces=paces, limits=limits)
        for step in steps:
            world.take(step)
            here.fill()
            world.check()

    with control():
        run()
