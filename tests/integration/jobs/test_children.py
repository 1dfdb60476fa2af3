"""Who gets a worker process: no long job starves behind short ones, and none idles while another tenant's could run.

The real scheduler, look by look, with messages that go nowhere; bundles end one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import psycopg
import pytest
from celery import Celery
from django.conf import settings

from apps.jobs.operations import leadership
from tests.integration.conftest import Change, Control
from tests.support.queue import end, queue, tenants
from tests.support.work import worker
from workers import selector
from workers.scheduler import Scheduler

WIDE = (100, 1000)
SHORT_S, LONG_S = 0.004, 5.0
SHORT = ("ops.noop", "ops.fail", "ops.crash")
PACES = dict.fromkeys(SHORT, SHORT_S) | {"ops.sleep": LONG_S}
FLYING = """
SELECT array_agg(DISTINCT tenant_id), array_agg(job_id) FROM jobs WHERE status IN ('dispatched', 'running')
 GROUP BY coalesce(bundle_id, job_id) ORDER BY min(dispatched_at), coalesce(bundle_id, job_id)
"""


class Crew:
    """A scheduler and so many children; `bundles` are those under way, the oldest first."""

    def __init__(self, session: psycopg.Connection[Any], made: Scheduler) -> None:
        self.session = session
        self.scheduler = made

    @property
    def bundles(self) -> list[tuple[list[str], list[UUID]]]:
        return [tuple(row) for row in self.session.execute(FLYING.encode()).fetchall()]

    def fill(self) -> None:
        for _ in range(50):
            if not self.scheduler.fill():
                return
        raise AssertionError("the scheduler would look for ever")

    def end_oldest(self) -> None:
        end(self.session, dict.fromkeys(self.bundles[0][1], SHORT_S))
        self.fill()


@pytest.fixture
def crew(
    change: Change, superuser: psycopg.Connection, control: Control, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Crew]:
    """Return what makes a scheduler that knows how long jobs take, over so many children."""

    def make(*, children: int, reserved: int, known: Sequence[str]) -> Crew:
        monkeypatch.setattr(selector, "SHARES_EVERY_S", 0.0)
        change("UPDATE environments SET reserved_slots = %s WHERE name = 'default'", reserved)
        worker(capacity=children)
        made = Scheduler(app=Celery(broker=settings.ENVIRONMENT.broker_url))
        made._epoch = leadership.take_office(role="scheduler")
        made._selector.begin()
        made._selector._begun = True
        monkeypatch.setattr(made._paces, "known", lambda: dict(PACES))
        monkeypatch.setattr(made, "_publish", lambda *_, **__: True)
        for tenant in known:
            for job_type, pace_s in PACES.items():
                made._selector._ledger.learn(tenant_id=tenant, job_type=job_type, seconds=pace_s)
        return Crew(superuser, made)

    return make


@pytest.mark.parametrize(("children", "reserved"), [(1, 0), (1, 1), (2, 0), (2, 1), (4, 0), (4, 1)])
@pytest.mark.parametrize("streams", [1, 3])
def test_a_long_job_gets_the_next_child_though_short_ones_never_end(
    crew: Callable[..., Crew],
    superuser: psycopg.Connection,
    control: Control,
    children: int,
    reserved: int,
    streams: int,
) -> None:
    names = [f"short-{n}" for n in range(streams)]
    tenants(superuser, dict.fromkeys([*names, "long"], WIDE))
    for name, job_type in zip(names, SHORT, strict=False):
        queue(superuser, tenant=name, type=job_type, count=1000)
    with control():
        here = crew(children=children, reserved=reserved, known=[*names, "long"])
        here.fill()
        for _ in range(6):
            here.end_oldest()
        (waits,) = queue(superuser, tenant="long", type="ops.sleep")
        for _ in range(4 * children):
            if any(waits in jobs for _, jobs in here.bundles):
                return
            here.end_oldest()
    raise AssertionError("short jobs went before it, bundle after bundle")


def test_no_child_idles_while_another_tenants_long_job_could_run(
    crew: Callable[..., Crew], superuser: psycopg.Connection, control: Control
) -> None:
    tenants(superuser, {"golden": (300, 50), "plain": (100, 50)})
    for name in ("golden", "plain"):
        queue(superuser, tenant=name, type="ops.sleep", count=50)
    with control():
        here = crew(children=2, reserved=1, known=["golden", "plain"])
        for _ in range(10):
            here.fill()
            assert [tenant for tenant, _ in here.bundles] in (
                [["golden"], ["plain"]],
                [["plain"], ["golden"]],
            )
            end(superuser, {job_id: LONG_S for _, jobs in here.bundles for job_id in jobs})
