"""Pauses: who may begin them, what they hold, and that they end by the database's clock."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from apps.jobs import environments, queries
from apps.jobs.operations import pauses
from apps.jobs.pausing import Target, held_by_pause, pause_gate
from apps.jobs.scheduling import Held, Pool, TenantShare
from apps.tenancy.context import in_tenant
from tests.integration.conftest import Change, Control, Look
from tests.support.api import Module, fields, refused, said
from tests.support.work import admitted, only, worker
from workers.selector import Selector

DEFAULT = "/operations/queues/default"
ENVIRONMENTS = "/operations/environments"


def waiting(environment: str = "default") -> set[tuple[str, str]]:
    """Return whose jobs of which type the scheduler would choose now."""
    selector = Selector(limits={})
    shares = {name: TenantShare(weight=1, max_running=10) for name in ("acme", "globex", "sandbox")}
    selector.observe(holding=[], known=shares, gates=[pause_gate(environments.pauses_in_force())])
    open_now = {pool.name for pool in queries.pools()}
    if environment not in open_now:
        return set()
    selector.discover([environment], held=Held([]))
    chosen = selector.choose(pool=Pool(name=environment, capacity=50), free=50, held=Held([]))
    return {(each.tenant_id, each.type) for each in chosen.jobs}


def test_a_tenant_pauses_its_own_and_nobody_elses(acme: Module, control: Control, look: Look) -> None:
    for tenant in ("acme", "globex"):
        admitted(tenant=tenant)
    made = said(acme.post({"reason": "source is down"}, path=f"{DEFAULT}/pause"))
    assert (made["environment"], made["tenant_id"], made["type"], made["ended_at"]) == ("default", "acme", None, None)
    with control():
        assert waiting() == {("globex", "ops.noop")}
        assert environments.pauses_in_force() == [Target("default", "acme", None)]
    said(acme.post({}, path=f"{DEFAULT}/resume"))
    with control():
        assert waiting() == {("acme", "ops.noop"), ("globex", "ops.noop")}
    told = look("SELECT type, tenant_id, subject, data->>'by' AS by FROM events WHERE type LIKE '%%queue%%' ORDER BY 1")
    assert [(row["type"], row["tenant_id"], row["subject"], row["by"]) for row in told] == [
        ("operations.queue.paused", "acme", made["pause_id"], "data-acquisition"),
        ("operations.queue.resumed", "acme", made["pause_id"], "data-acquisition"),
    ]
    refused(acme.post({}, path=f"{DEFAULT}/resume"), 409, "not_paused")
    refused(acme.post({"tenant_id": "globex", "reason": "x"}, path=f"{DEFAULT}/pause"), 404, "not_found")


def test_a_type_of_a_tenant(acme: Module, control: Control) -> None:
    admitted("ops.noop")
    admitted("ops.sleep", params={"seconds": 0})
    said(acme.post({"type": "ops.sleep", "reason": "too slow"}, path=f"{DEFAULT}/pause"))
    with control():
        assert waiting() == {("acme", "ops.noop")}


@pytest.mark.parametrize("environment", ["default", "*"])
def test_the_platform_pauses_everybody(platform: Module, control: Control, look: Look, environment: str) -> None:
    admitted()
    path = f"/operations/queues/{environment}"
    with control():
        worker()
    made = said(platform.post({"reason": "upgrade"}, path=f"{path}/pause"))
    assert made["tenant_id"] is None
    with control():
        assert ("batch" in [pool.name for pool in queries.pools()]) is (environment == "default")
        assert "default" not in [pool.name for pool in queries.pools()]
        assert waiting() == set() if environment == "default" else True
    assert only(look("SELECT tenant_id FROM events WHERE type = 'operations.queue.paused'"))["tenant_id"] is None
    said(platform.post({}, path=f"{path}/resume"))
    with control():
        assert "default" in [pool.name for pool in queries.pools()]


def test_it_ends_by_itself_and_the_interval_is_kept_whole(acme: Module, control: Control, look: Look) -> None:
    admitted()
    (row,) = look("SELECT clock_timestamp() + interval '1 hour' AS soon")
    said(acme.post({"reason": "for an hour", "until": row["soon"].isoformat()}, path=f"{DEFAULT}/pause"))
    with control():
        assert waiting() == set()
        assert pauses.end_expired() == 0
    look("UPDATE pauses SET started_at = started_at - interval '2 h', until = until - interval '1 h 1 s' RETURNING 1")
    with control():
        assert waiting() == {("acme", "ops.noop")}  # before anybody wrote its end
        assert pauses.end_expired() == 1
        assert pauses.end_expired() == 0
    kept = only(look("SELECT until, ended_at, ended_by FROM pauses"))
    assert (kept["ended_at"], kept["ended_by"]) == (kept["until"], "clock")
    said(acme.post({"reason": "again"}, path=f"{DEFAULT}/pause"))
    assert len(look("SELECT 1 FROM pauses")) == 2


def test_paused_again_it_stays_one_interval(acme: Module, look: Look) -> None:
    first = said(acme.post({"reason": "one"}, path=f"{DEFAULT}/pause"))
    second = said(acme.post({"reason": "two"}, path=f"{DEFAULT}/pause"))
    assert (first["pause_id"], first["started_at"]) == (second["pause_id"], second["started_at"])
    assert only(look("SELECT reason FROM pauses"))["reason"] == "two"


def test_what_is_wrong_is_named(acme: Module, platform: Module) -> None:
    assert fields(refused(acme.post({}, path=f"{DEFAULT}/pause"), 400, "invalid_fields")) == ["reason"]
    past = {"reason": "x", "until": "2020-01-01T00:00:00Z"}
    assert fields(refused(acme.post(past, path=f"{DEFAULT}/pause"), 400, "invalid_fields")) == ["until"]
    refused(acme.post({"reason": "x"}, path="/operations/queues/moon/pause"), 404, "not_found")
    asked = {"reason": "x"}
    refused(platform.post(asked, path=f"{DEFAULT}/pause", **{"Idempotency-Key": "k"}), 400, "invalid_idempotency_key")
    refused(Module("acme", scope="jobs:read").post(asked, path=f"{DEFAULT}/pause"), 403, "missing_scope")


def test_environments_show_slots_and_no_other_tenant(acme: Module, globex: Module, change: Change) -> None:
    change("UPDATE environments SET allowed_tenants = '{globex}' WHERE name = 'batch'")
    said(globex.post({"reason": "globex has its reasons"}, path=f"{DEFAULT}/pause"))
    seen = said(acme.get(ENVIRONMENTS))
    assert [each["name"] for each in seen["items"]] == ["default"]
    (mine,) = seen["items"]
    assert (mine["slots"], mine["reserved_slots"], mine["in_use"], mine["paused"], mine["pauses"]) == (
        1024,
        1,
        0,
        False,
        [],
    )
    assert "globex" not in str(seen)
    refused(acme.get(f"{ENVIRONMENTS}/batch"), 404, "not_found")
    assert said(globex.get(f"{ENVIRONMENTS}/batch"))["region"] == "local"
    assert len(said(globex.get(f"{ENVIRONMENTS}/default"))["pauses"]) == 1


def test_a_pause_on_the_environments_page_is_an_interval_too(look: Look, change: Change, control: Control) -> None:
    from apps.jobs.operations.configure import set_environment  # noqa: PLC0415 - beside its only test here
    from apps.tenancy.context import operator_reading  # noqa: PLC0415

    def save(paused_until: datetime | None) -> None:
        with operator_reading():
            set_environment(
                name="batch",
                region="local",
                slots=3,
                reserved_slots=0,
                allowed_tenants=None,
                paused_until=paused_until,
                pause_reason="upgrade",
                by="operator",
            )

    (row,) = look("SELECT clock_timestamp() AS now")
    save(row["now"] + timedelta(hours=1))
    assert only(look("SELECT environment_id, reason, ended_at FROM pauses")) == {
        "environment_id": "batch",
        "reason": "upgrade",
        "ended_at": None,
    }
    save(None)
    assert only(look("SELECT ended_by FROM pauses"))["ended_by"] == "operator"


def test_row_security_hides_another_tenants_pause(acme: Module, globex: Module) -> None:
    from apps.jobs.models import Pause  # noqa: PLC0415

    said(globex.post({"reason": "x"}, path=f"{DEFAULT}/pause"))
    with in_tenant("acme"):
        assert list(Pause.every.all()) == []


def test_a_tenant_sees_everybodys_pause_and_cannot_change_it(platform: Module) -> None:
    from apps.jobs.models import Pause  # noqa: PLC0415

    made = said(platform.post({"reason": "upgrade"}, path=f"{DEFAULT}/pause"))
    with in_tenant("acme"):
        assert [str(each.pause_id) for each in Pause.every.all()] == [made["pause_id"]]
        assert Pause.every.update(reason="acme's") == 0


@pytest.mark.parametrize(
    ("pause", "held"),
    [
        (("default", None, None), True),
        ((None, "acme", None), True),
        ((None, None, "ops.noop"), True),
        (("default", "acme", "ops.noop"), True),
        (("batch", None, None), False),
        (("default", "globex", None), False),
        (("default", "acme", "ops.sleep"), False),
    ],
)
def test_a_pause_holds_what_fits_all_its_parts(pause: Any, held: bool) -> None:
    assert held_by_pause(environment="default", tenant_id="acme", job_type="ops.noop", pauses=[pause]) is held
