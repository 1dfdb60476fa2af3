"""A module's tenants are migrated by a whole plane: in waves, past what drifted, back where a wave broke."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from opsplatform.plane import Plane
from tests.support.client import Caller, Truth, wait_for
from tests.support.person import Person
from tests.support.release import STILL, Campaigns
from tests.support.shop import Shop
from tests.support.tenants import names

EVENTS = "SELECT type, data FROM events WHERE subject = %s ORDER BY occurred_at, event_id"
# The module's own business at one row: it waits for somebody.
WAITS = """
CREATE FUNCTION waits() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_advisory_xact_lock(42); RETURN NEW; END $$;
CREATE TRIGGER waits BEFORE UPDATE ON orders FOR EACH ROW WHEN (OLD.id = 2500) EXECUTE FUNCTION waits();
"""
SET_ASIDE = "SELECT * FROM migration_targets WHERE migration_id = %s AND state = 'set_aside'"
TICKETS = """
SELECT t.* FROM tickets t JOIN ticket_links l ON l.ticket_id = t.id WHERE l.kind = 'migration' AND l.ref = %s
"""


@pytest.fixture
def killing(plane: Plane, truth: Truth) -> Callable[[str], None]:
    """Return what kills a part of the plane, or of a worker whatever runs jobs at the moment."""

    def kill(part: str) -> None:
        process = psutil.Process(plane.pid(part))
        children = process.children(recursive=True) if part.startswith("worker") else [process]
        for each in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        wait_for(
            lambda: plane.processes()[part]["pid"] not in {None, *(each.pid for each in children)},
            what=f"{part} runs again",
        )

    return kill


def targets(found: dict[str, Any]) -> dict[str, str]:
    """Return target → state."""
    return {each["target"]: each["state"] for each in found["targets"]}


def test_tenants_are_upgraded_in_waves_and_one_that_drifted_is_set_aside(
    shop: Shop, campaigns: Campaigns, truth: Truth
) -> None:
    tenants = names(5)
    shop.open_for(tenants)
    drifted = tenants[3]
    shop.execute(drifted, "ALTER TABLE orders ADD COLUMN by_hand text")
    migration_id = campaigns.begin(tenants=tenants)

    found = campaigns.still(migration_id)

    assert (found["status"], found["progress"]) == ("succeeded", 1.0), found["reason"]
    (aside,) = [each for each in found["plan"]["set_aside"] if each["target"] == drifted]
    assert aside["reason"] == "schema_differs"
    assert any("by_hand" in each for each in aside["differs"])
    for tenant in tenants:
        version, count, _, has_total = shop.state(tenant)
        assert (version, count, has_total) == (("1.4", 50, False) if tenant == drifted else ("1.5", 50, True))
    assert [len(wave["targets"]) for wave in found["plan"]["waves"]] == [1, 3]
    told = [each["type"].rpartition(".")[2] for each in truth.rows(EVENTS, migration_id)]
    assert told[0] == "requested"
    assert [each for each in told if not each.startswith("target_")] == [
        "requested", "planned", "approved", "started", "wave_started", "wave_passed", "wave_started", "wave_passed",
        "completed",
    ]  # fmt: skip
    assert told.count("target_upgraded") == 4


def test_a_target_that_drifts_after_the_plan_is_set_aside_when_its_turn_comes(
    shop: Shop, campaigns: Campaigns, truth: Truth
) -> None:
    tenants = names(3)
    shop.open_for(tenants)
    migration_id = campaigns.ask(tenants=tenants, waves=[{"targets": tenants[:1]}, {"targets": tenants[1:]}])
    campaigns.until(migration_id, "awaiting_approval")
    shop.execute(tenants[2], "ALTER TABLE orders ADD COLUMN by_hand text")
    campaigns.approve(migration_id)

    found = campaigns.still(migration_id)

    assert (found["status"], found["progress"]) == ("succeeded", 1.0), found["reason"]
    assert [shop.state(tenant)[::3] for tenant in tenants] == [("1.5", True), ("1.5", True), ("1.4", False)]
    (aside,) = truth.rows(SET_ASIDE, migration_id)
    assert (aside["key"], aside["reason_code"], aside["holds"]) == (tenants[2], "schema_differs", False)


def test_a_database_that_is_away_when_a_targets_turn_comes_did_not_drift_and_is_waited_for(
    shop: Shop, campaigns: Campaigns, plane: Plane, truth: Truth
) -> None:
    tenants = names(2)
    shop.open_for(tenants)
    migration_id = campaigns.ask(tenants=tenants)
    campaigns.until(migration_id, "awaiting_approval")
    refusal, log = f'role "{shop.name}" is not permitted to log in', plane.home / "logs" / "postgres.log"
    with shop.away():
        campaigns.approve(migration_id)
        wait_for(lambda: log.read_text().count(refusal) >= 3, what="it is asked again and again")
        found = campaigns.read(migration_id)
        assert (found["status"], found["waves"][0]["state"]) == ("running", "running")
        assert set(targets(found).values()) == {"waiting"}

    found = campaigns.still(migration_id)

    assert (found["status"], found["progress"]) == ("succeeded", 1.0), found["reason"]
    assert [shop.state(tenant)[::3] for tenant in tenants] == [("1.5", True)] * 2
    assert truth.rows(SET_ASIDE, migration_id) == []


def test_a_dry_run_tells_the_plan_and_touches_nothing(shop: Shop, campaigns: Campaigns) -> None:
    tenants = names(3)
    shop.open_for(tenants)
    before = {tenant: shop.state(tenant) for tenant in tenants}
    migration_id = campaigns.ask(tenants=tenants, dry_run=True)

    found = wait_for(
        lambda: one if (one := campaigns.read(migration_id))["plan"] else None, what="there is a plan", within_s=60
    )

    assert found["status"] == "draft"
    rehearsal = found["plan"]["rehearsal"]
    assert rehearsal["came_back"] is True, rehearsal
    assert {each["name"] for each in rehearsal["steps"]} == {"add_total", "fill_total", "check_total"}
    assert any(
        lock["mode"] == "AccessExclusiveLock" for each in rehearsal["steps"] for lock in each["locks"]
    ), "adding a column takes the strongest lock, for a moment"  # fmt: skip
    assert found["plan"]["estimate"]["duration_s"]["likely"] > 0
    assert {tenant: shop.state(tenant) for tenant in tenants} == before
    schemas = shop.rows(tenants[0], "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'ops_rehearsal%%'")
    assert schemas == [], "the clone is gone"


def test_a_wave_that_breaks_one_tenant_is_brought_back_with_nothing_lost(
    shop: Shop, campaigns: Campaigns, truth: Truth
) -> None:
    tenants = names(5)
    shop.open_for(tenants)
    broken = tenants[4]
    shop.execute(broken, "UPDATE orders SET tax_base = 0 WHERE id = 40")
    before = {tenant: shop.state(tenant) for tenant in tenants}
    waves = [{"targets": tenants[:1]}, {"targets": tenants[1:]}]
    migration_id = campaigns.begin(tenants=tenants, waves=waves)

    found = campaigns.still(migration_id)

    assert (found["status"], found["reason"]["code"]) == ("paused", "wave_reverted"), found
    assert shop.state(tenants[0])[0] == "1.5", "the first wave stays"
    for tenant in tenants[1:]:
        assert shop.state(tenant) == before[tenant]
        assert targets(found)[tenant] in {"reverted", "waiting"}
    assert targets(found)[broken] == "reverted"

    shop.execute(broken, "UPDATE orders SET tax_base = 100 WHERE id = 40")
    campaigns.command(migration_id, "retry")

    found = campaigns.until(migration_id, "succeeded")
    assert {shop.state(tenant)[0] for tenant in tenants} == {"1.5"}


def test_a_failing_gate_stops_the_second_wave(shop: Shop, campaigns: Campaigns) -> None:
    tenants = names(3)
    shop.open_for(tenants)
    shop.execute(tenants[2], "UPDATE orders SET net_cents = -5 WHERE id = 7")
    waves = [{"targets": tenants[:1]}, {"targets": tenants[1:]}]
    migration_id = campaigns.begin(tenants=tenants, waves=waves)

    found = campaigns.still(migration_id)

    assert (found["status"], found["reason"]["code"]) == ("paused", "wave_reverted"), found
    assert [shop.state(tenant)[0] for tenant in tenants] == ["1.5", "1.4", "1.4"]
    campaigns.command(migration_id, "revert")
    found = campaigns.until(migration_id, "reverted")
    assert {shop.state(tenant)[0] for tenant in tenants} == {"1.4"}
    assert not any(shop.state(tenant)[3] for tenant in tenants)


def test_a_stalled_backfill_is_paused_within_its_deadline_and_ticketed(
    shop: Shop, campaigns: Campaigns, truth: Truth
) -> None:
    tenants = names(1)
    shop.open_for(tenants, orders=3000)
    shop.execute(tenants[0], WAITS)
    migration_id = campaigns.ask(tenants=tenants)
    campaigns.until(migration_id, "awaiting_approval")
    with shop.session(tenants[0]) as blocker:
        blocker.execute("SELECT pg_advisory_lock(42)")
        campaigns.approve(migration_id)
        found = campaigns.still(migration_id, within_s=60)
        assert (found["status"], found["reason"]["code"]) == ("paused", "stalled"), found
    (ticket,) = wait_for(
        lambda: truth.rows(TICKETS, migration_id),
        what="a ticket says so",
    )
    assert ticket["status"] == "open"
    (stalled,) = truth.rows("SELECT * FROM events WHERE subject = %s AND type LIKE '%%stalled'", migration_id)
    assert stalled["data"]["step"] == "fill_total"
    assert 0 < stalled["data"]["done"] < stalled["data"]["total"]

    campaigns.command(migration_id, "retry")
    campaigns.until(migration_id, "succeeded")
    assert shop.rows(tenants[0], "SELECT count(*) FROM orders WHERE total_cents IS NULL") == [(0,)]


def test_a_drill_takes_the_first_wave_up_down_and_up_before_the_rest(
    shop: Shop, campaigns: Campaigns, truth: Truth
) -> None:
    tenants = names(3)
    shop.open_for(tenants)
    migration_id = campaigns.begin(tenants=tenants, drill=True)
    found = campaigns.still(migration_id)
    assert found["status"] == "succeeded", found["reason"]
    first = found["plan"]["waves"][0]["targets"][0]
    went = [
        (each["type"].rpartition(".")[2], each["data"].get("target"))
        for each in truth.rows(EVENTS, migration_id)
        if "target_" in each["type"]
    ]
    assert went[:3] == [("target_upgraded", first), ("target_reverted", first), ("target_upgraded", first)]
    assert [name for name, _ in went[3:]] == ["target_upgraded", "target_upgraded"]


@pytest.mark.parametrize("part", ["migrator", "worker-default"])
def test_killed_at_each_step_boundary_it_goes_on_exactly(
    part: str, shop: Shop, campaigns: Campaigns, truth: Truth, plane: Plane, killing: Callable[[str], None]
) -> None:
    tenants = names(3)
    shop.open_for(tenants, orders=2000)
    migration_id = campaigns.begin(tenants=tenants)
    seen: set[tuple[Any, ...]] = set()
    killed: list[tuple[Any, ...]] = []
    query = "SELECT name, state, direction, count(*) AS n FROM migration_steps WHERE migration_id = %s GROUP BY 1, 2, 3"

    def over() -> bool:
        stands = tuple(sorted(tuple(row.values()) for row in truth.rows(query, migration_id)))
        if stands not in seen and stands and len(seen) < 8:
            killing(part)
            killed.append(stands)
        seen.add(stands)
        return bool(campaigns.read(migration_id)["status"] in STILL)

    wait_for(over, what="it is over", within_s=170)
    assert len(killed) >= 4, "it was killed at several boundaries, or nothing was shown"

    assert campaigns.read(migration_id)["status"] == "succeeded", campaigns.read(migration_id)["reason"]
    for tenant in tenants:
        assert shop.state(tenant) == ("1.5", 2000, 7 * 2000 * 2001 // 2, True)
        ledger = shop.rows(tenant, "SELECT step, state, done FROM ops_migration_ledger ORDER BY step")
        assert [(step, state) for step, state, _ in ledger] == [
            ("add_total", "applied"), ("check_total", "applied"), ("fill_total", "applied"),
        ]  # fmt: skip
    left = truth.rows("SELECT * FROM migration_targets WHERE migration_id = %s AND holds", migration_id)
    assert left == []


def test_one_migration_a_target_at_a_time(shop: Shop, campaigns: Campaigns) -> None:
    tenants = names(1)
    shop.open_for(tenants, orders=3000)
    with shop.session(tenants[0], autocommit=False) as blocker:
        blocker.execute("SELECT * FROM orders WHERE id = 2500 FOR UPDATE")
        first = campaigns.begin(tenants=tenants)
        campaigns.until(first, "running")
        body = {
            "tenant_id": tenants[0],
            "definition": "shop",
            "version_to": "1.5",
            "targets": {"tenants": tenants},
        }
        refused = campaigns.request("POST", "/operations/migrate", json=body)
        assert (refused.status_code, refused.json()["code"]) == (409, "target_busy")
        campaigns.command(first, "pause")
        campaigns.until(first, "paused")
        campaigns.command(first, "abort")
        campaigns.until(first, "failed")
    campaigns.command(first, "revert")
    campaigns.until(first, "reverted")
    assert shop.state(tenants[0])[::3] == ("1.4", False)


def test_nothing_contracts_while_the_old_version_is_reported_and_nothing_comes_back_after(
    shop: Shop, campaigns: Campaigns, plane: Plane
) -> None:
    tenants = names(2)
    shop.open_for(tenants)
    assert campaigns.still(campaigns.begin(tenants=tenants))["status"] == "succeeded"
    beats = Caller(url=plane.url, home=plane.home, tenants=["*"], scope="health:report")

    def beat(version: str) -> None:
        said = {"module": "storefronts", "component": "storefront", "signal": "success", "version": version}
        answer = beats.request("POST", "/operations/health/heartbeats", json=said)
        assert answer.status_code in {200, 202, 204}, answer.text

    beat("1.5")
    migration_id = campaigns.begin(tenants=tenants, version="1.6", people=("operator",))
    planned = campaigns.read(migration_id)
    assert (planned["risk"], planned["approvals"]["needed"]) == ("high", 2), "it takes something away"
    assert planned["status"] == "awaiting_approval", "one person is not enough"
    with Person(url=plane.url, home=plane.home, name="approver") as person:
        assert person.post(f"/operations/migrations/{migration_id}/approve", note="seen").status_code == 202
    held = wait_for(
        lambda: one if (one := campaigns.read(migration_id))["waves"][0]["state"] == "held" else None,
        what="it is held before it contracts",
    )
    assert any("storefront" in each for each in held["waves"][0]["facts"]["held_by"])
    assert all("tax_base" in columns(shop, tenant) for tenant in tenants)

    beat("1.6")
    found = campaigns.still(migration_id)
    assert found["status"] == "succeeded", found["reason"]
    assert not any("tax_base" in columns(shop, tenant) for tenant in tenants)
    refused = campaigns.request("POST", f"/operations/migrations/{migration_id}/revert", json={})
    assert refused.status_code == 409
    beats.close()


def test_its_author_does_not_approve_it(shop: Shop, plane: Plane, campaigns: Campaigns) -> None:
    tenants = names(1)
    shop.open_for(tenants)
    assert campaigns.still(campaigns.begin(tenants=tenants))["status"] == "succeeded"
    author = Campaigns(plane=plane, subject="Approver")
    migration_id = author.ask(tenants=tenants, version="1.6")
    author.until(migration_id, "awaiting_approval")
    refused = author.request("POST", f"/operations/migrations/{migration_id}/approve", json={})
    assert (refused.status_code, refused.json()["code"]) == (403, "person_required")
    with Person(url=plane.url, home=plane.home, name="approver") as person:
        refused = person.post(f"/operations/migrations/{migration_id}/approve")
        assert (refused.status_code, refused.json()["code"]) == (403, "author_approves")
    author.command(migration_id, "abort")
    author.until(migration_id, "failed")
    author.close()


def columns(shop: Shop, tenant: str) -> set[str]:
    """Return the columns of a tenant's orders."""
    query = "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = 'orders'"
    return {name for (name,) in shop.rows(tenant, query, shop.schema(tenant))}
