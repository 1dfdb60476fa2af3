"""A failing job's ticket on a running plane: opened within seconds, raced for, and resolved by itself with proof."""

from __future__ import annotations

import threading
from typing import Any

import httpx
import pytest

from opsplatform.plane import Plane
from tests.support.client import Caller, Truth, wait_for
from tests.support.tenants import admit, names

SCOPE = "jobs:submit jobs:read tickets:read tickets:write evidence:read"
FAILS = {"times": 9, "permanent": True}


@pytest.fixture
def tenant(truth: Truth) -> str:
    """A tenant of this test's own: nobody else's late success resolves its tickets."""
    (name,) = names(1)
    admit(truth, name)
    return name


@pytest.fixture
def module(plane: Plane, tenant: str) -> Any:
    """The tenant's module, which may work on tickets."""
    made = Caller(url=plane.url, home=plane.home, tenants=(tenant,), scope=SCOPE)
    yield made
    made.close()


def ticket_of(module: Caller, job_id: str) -> dict[str, Any]:
    """Return the ticket that names a job, once there is one."""

    def there() -> dict[str, Any] | None:
        items = module.request("GET", "/operations/tickets", params={"job_id": job_id}).json()["items"]
        return dict(items[0]) if items else None

    return wait_for(there, what=f"a ticket about job {job_id}", within_s=20)


def whole(module: Caller, ticket: dict[str, Any]) -> dict[str, Any]:
    answer = module.request("GET", f"/operations/tickets/{ticket['id']}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_failing_job_has_a_ticket_that_two_race_for_and_two_successes_resolve(
    plane: Plane, module: Caller, truth: Truth, tenant: str
) -> None:
    good = module.submit("ops.fail", {"times": 0})["job_id"]
    module.wait(good)
    bad = module.submit("ops.fail", FAILS)["job_id"]
    assert module.wait(bad)["status"] == "failed"
    ticket = ticket_of(module, bad)
    assert (ticket["status"], ticket["kind"], ticket["module"]) == ("open", "ops.fail", "ops")
    changes = {each["field"]: (each["good"], each["bad"]) for each in whole(module, ticket)["diff"]["changes"]}
    assert changes["params.times"] == (0, 9)

    answers: list[httpx.Response] = []
    callers = [Caller(url=plane.url, home=plane.home, tenants=(tenant,), scope=SCOPE) for _ in range(2)]
    start = threading.Barrier(2)

    def acknowledge(caller: Caller) -> None:
        start.wait(timeout=10)
        path = f"/operations/tickets/{ticket['id']}/acknowledge"
        answers.append(caller.request("POST", path, json={"version": ticket["version"]}))

    racers = [threading.Thread(target=acknowledge, args=(each,)) for each in callers]
    for each in racers:
        each.start()
    for each in racers:
        each.join(timeout=30)
    for caller in callers:
        caller.close()
    assert sorted(each.status_code for each in answers) == [200, 409]
    (late,) = [each.json() for each in answers if each.status_code == 409]
    assert (late["code"], late["version"]) == ("changed_meanwhile", ticket["version"] + 1)

    again = module.submit("ops.fail", FAILS)["job_id"]
    module.wait(again)
    wait_for(lambda: whole(module, ticket)["occurrences"] == 2, what="the second failure on the same ticket")

    runs = [module.submit("ops.fail", {"times": 0})["job_id"] for _ in range(2)]
    for each in runs:
        module.wait(each)
    wait_for(lambda: whole(module, ticket)["status"] == "resolved", what="the ticket resolving itself", within_s=20)
    story = whole(module, ticket)
    assert story["log"][-1]["what"] == "auto_resolved"
    assert {each["job_id"] for each in story["successes"]} == set(runs)
    record = truth.one("SELECT record_id FROM evidence_records WHERE kind = 'ticket' AND subject_id = %s", ticket["id"])
    sealed = wait_for(
        lambda: module.request("GET", f"/operations/evidence/{record['record_id']}").json().get("proof"),
        what="the resolution's seal",
        within_s=20,
    )
    assert sealed.startswith("c2sp.org/tlog-proof@v1")
    metrics = httpx.get(f"{plane.url}/metrics").text
    assert "operations_tickets_open_total" in metrics
    assert truth.rows("SELECT 1 FROM failed_reactions WHERE reaction LIKE 'apps.tickets%%'") == []
