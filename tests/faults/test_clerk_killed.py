"""Fault 8 for tickets: the clerk, and the reactor, are killed; nothing that is owed is forgotten or done twice."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from opsplatform.plane import Plane
from tests.support.client import Caller, Truth, wait_for

SCOPE = "tickets:read tickets:write jobs:submit jobs:read"
CHAIN = """
INSERT INTO escalation_chains (name, steps, rounds)
VALUES ('at-once', '[{"after_s": 1, "tell": ["operators"]}, {"after_s": 1, "tell": ["person:ada"]}]', 1)
"""
POLICY = """
INSERT INTO sla_policies (name, position, module, ack_timeout_s, chain_id) VALUES ('drill', 1, 'drill', 0, 'at-once')
"""


@pytest.fixture
def module(plane: Plane, truth: Truth) -> Iterator[Caller]:
    """Acme's module, whose drill's tickets escalate at once."""
    truth.execute(CHAIN)
    truth.execute(POLICY)
    made = Caller(url=plane.url, home=plane.home, tenants=("acme",), scope=SCOPE)
    try:
        yield made
    finally:
        made.close()
        truth.execute("DELETE FROM sla_policies WHERE name = 'drill'")
        truth.execute("DELETE FROM escalation_chains WHERE name = 'at-once'")


def test_a_clerk_that_is_killed_tells_everybody_once(plane: Plane, module: Caller, truth: Truth) -> None:
    ids = []
    for n in range(6):
        answer = module.request("POST", "/operations/ticket", json={"module": "drill", "issue": f"drill {n}"})
        assert answer.status_code == 201, answer.text
        ids.append(answer.json()["id"])
        if n % 3 == 2:
            plane.kill("clerk")
    said = "SELECT data->>'step' AS step FROM ticket_entries WHERE ticket_id = %s AND kind = 'escalated' ORDER BY id"
    for each in ids:
        wait_for(partial(truth.rows, f"SELECT 1 FROM ({said}) AS s OFFSET 1", each), what=f"both steps of {each}")
    plane.kill("clerk")
    ended = "SELECT 1 FROM ticket_entries WHERE ticket_id = %s AND kind = 'escalation_ended'"
    for each in ids:
        wait_for(partial(truth.rows, ended, each), what=f"the end of the chain of {each}")
        assert [row["step"] for row in truth.rows(said, each)] == ["1", "2"]


def test_failures_told_while_the_reactor_dies_are_each_counted_once(plane: Plane, module: Caller, truth: Truth) -> None:
    jobs = [module.submit("ops.fail", {"times": 9, "permanent": True})["job_id"] for _ in range(5)]
    plane.kill("reactor")
    jobs += [module.submit("ops.fail", {"times": 9, "permanent": True})["job_id"] for _ in range(5)]
    for each in jobs:
        module.wait(each)
    plane.kill("reactor")
    counted = """
    SELECT sum(occurrences)::int AS n, count(*)::int AS tickets FROM tickets t
     WHERE tenant_id = 'acme' AND kind = 'ops.fail' AND EXISTS (SELECT 1 FROM ticket_links l
       WHERE l.ticket_id = t.id AND l.kind = 'job' AND l.ref = ANY (%s))
    """
    found = wait_for(
        lambda: [row for row in truth.rows(counted, jobs) if (row["n"] or 0) >= len(jobs)],
        what="every failure counted",
        within_s=30,
    )
    assert found == [{"n": len(jobs), "tickets": 1}]
