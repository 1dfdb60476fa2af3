"""Who gets a worker process: no long job starves behind short ones, and none idles while another tenant's could run.

The real scheduler, look by look, with messages that nobody reads; bundles end one after the other.
"""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from tests.integration.conftest import Control
from tests.support.crew import Crew
from tests.support.queue import end, queue, tenants

WIDE = (100, 1000)
RUNNING = """
UPDATE jobs SET status = 'running', worker_id = (SELECT process_id FROM processes LIMIT 1),
       started_at = clock_timestamp() - make_interval(secs => %s) WHERE status = 'dispatched'
"""
SHORT_S, LONG_S = 0.004, 5.0
SHORT = ("ops.noop", "ops.fail", "ops.crash")
PACES = dict.fromkeys(SHORT, SHORT_S) | {"ops.sleep": LONG_S}


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
        here = crew(children=children, reserved=reserved, known=[*names, "long"], paces=PACES)
        here.fill()
        for _ in range(6):
            here.end_oldest(took_s=SHORT_S)
        (waits,) = queue(superuser, tenant="long", type="ops.sleep")
        for _ in range(4 * children):
            if any(waits in jobs for _, jobs in here.bundles):
                return
            here.end_oldest(took_s=SHORT_S)
    raise AssertionError("short jobs went before it, bundle after bundle")


def test_no_child_idles_while_another_tenants_long_job_could_run(
    crew: Callable[..., Crew], superuser: psycopg.Connection, control: Control
) -> None:
    """Golden is so far behind its share that it fills a look by itself; one child is kept from it."""
    tenants(superuser, {"golden": (300, 50), "plain": (100, 50)})
    for name in ("golden", "plain"):
        queue(superuser, tenant=name, type="ops.sleep", count=50)
    with control():
        here = crew(children=2, reserved=1, known=(), paces=PACES)
        here.fill()
        for _ in range(20):
            assert sorted(tenant for tenant, _ in here.bundles) == [["golden"], ["plain"]]
            superuser.execute(RUNNING.encode(), [2 * LONG_S])
            end(superuser, {job_id: 2 * LONG_S for _, jobs in here.bundles for job_id in jobs})
            here.fill()
