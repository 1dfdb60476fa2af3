"""Fault 8 for tickets: the clerk, and the reactor, are killed; nothing that is owed is forgotten or done twice."""

from __future__ import annotations

from collections.abc import Iterator

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

# Other tests' jobs fail alike in the same plane.
COUNTED = """
SELECT coalesce(sum(occurrences), 0)::int AS n, count(*)::int AS tickets FROM tickets
 WHERE tenant_id = 'acme' AND kind = 'ops.fail'
"""
BEHIND = """
SELECT 1 FROM event_consumers WHERE name LIKE 'reaction:apps.tickets%%'
   AND position < (SELECT max(sequence) FROM events WHERE type = 'operations.job.failed')
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
    wait_for(lambda: all(len(truth.rows(said, each)) >= 2 for each in ids), what="both steps of each", within_s=60)
    plane.kill("clerk")
    ended = "SELECT 1 FROM ticket_entries WHERE ticket_id = %s AND kind = 'escalation_ended'"
    wait_for(lambda: all(truth.rows(ended, each) for each in ids), what="the end of each chain", within_s=60)
    for each in ids:
        assert [row["step"] for row in truth.rows(said, each)] == ["1", "2"]


def test_failures_told_while_the_reactor_dies_are_each_counted_once(plane: Plane, module: Caller, truth: Truth) -> None:
    before = truth.one(COUNTED)
    jobs = [module.submit("ops.fail", {"times": 9, "permanent": True})["job_id"] for _ in range(5)]
    plane.kill("reactor")
    jobs += [module.submit("ops.fail", {"times": 9, "permanent": True})["job_id"] for _ in range(5)]
    for each in jobs:
        module.wait(each)
    plane.kill("reactor")
    wait_for(lambda: truth.one(COUNTED)["n"] >= before["n"] + len(jobs), what="every failure counted", within_s=30)
    wait_for(lambda: not truth.rows(BEHIND), what="all that was told is reacted to", within_s=30)
    after = truth.one(COUNTED)
    assert after["n"] == before["n"] + len(jobs)
    assert after["tickets"] <= before["tickets"] + 1
