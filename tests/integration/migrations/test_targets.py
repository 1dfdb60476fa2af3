"""What becomes of targets: each end with its event and with evidence in its own tenant's log; and the walls."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from apps.migrations.lifecycle import TargetState
from apps.migrations.models import Approval, Migration, Step, Target, Wave
from apps.migrations.operations import asking, targets
from apps.migrations.queries import recorded, why_failed
from apps.tenancy.context import NoTenantContextError, in_tenant, operator_reading
from tests.integration.conftest import Control, Look
from tests.integration.migrations.conftest import Made, Proven, Told
from tests.support.campaigning import OTHER_SUM, SUM, Campaign, definition, killed_before_commit
from tests.support.walls import ask_nothing, refused, tenants_in

TABLES = ["migrations", "migration_approvals", "migration_waves", "migration_targets", "migration_steps"]
OF_TARGETS = ["migration_targets", "migration_steps"]


@pytest.fixture
def campaign(made: Made) -> Campaign:
    """A campaign on acme's account through acme and globex."""
    return made().started(["acme", "globex"])


def put(campaign: Campaign, state: TargetState, key: str = "acme") -> UUID:
    """Bring a target into a state; return its id."""
    campaign.by_itself(lambda: Target.objects.filter(migration_id=campaign.id, key=key).update(state=state))
    return campaign.target(key).target_id


# Back or not, from where, and where each call leads; everything else leaves a target as it is.
WAYS: list[tuple[Any, dict[str, Any], dict[str, str]]] = [
    (targets.begin, {"back": False}, {"waiting": "running", "upgraded": "running"}),
    (
        targets.begin,
        {"back": True},
        dict.fromkeys(("running", "verifying", "upgraded", "failed"), "reverting"),
    ),
    (targets.verifying, {"back": False}, {"running": "verifying"}),
    (targets.verifying, {"back": True}, {"reverting": "verifying_back"}),
    (targets.verified, {"back": False, "version": "1.5", "digest": SUM}, {"verifying": "upgraded"}),
    (targets.verified, {"back": True, "version": "1.4", "digest": SUM}, {"verifying_back": "reverted"}),
    (targets.failed, {"back": False, "code": "boom"}, {"running": "failed", "verifying": "failed"}),
    (targets.failed, {"back": True, "code": "boom"}, {"reverting": "stuck", "verifying_back": "stuck"}),
]


@pytest.mark.parametrize(
    ("operation", "more", "leads"), WAYS, ids=[f"{each[0].__name__}-{each[1]['back']}" for each in WAYS]
)
def test_a_targets_way_is_what_the_table_says_from_every_state(
    campaign: Campaign, told: Told, operation: Any, more: dict[str, Any], leads: dict[str, str]
) -> None:
    for state in TargetState:
        target_id = put(campaign, state)
        before = len(told(campaign))
        campaign.by_itself(operation, target_id, **more)
        assert campaign.target("acme").state == leads.get(state.value, state.value), state
        ends = operation in {targets.verified, targets.failed} and state.value in leads
        assert len(told(campaign)) - before == ends


def test_an_upgraded_target_is_proven_in_its_own_tenants_log(
    campaign: Campaign, told: Told, proven: Proven, look: Look
) -> None:
    target_id = put(campaign, TargetState.VERIFYING, "globex")
    campaign.by_itself(targets.verified, target_id, back=False, version="1.5", digest=OTHER_SUM)
    row = campaign.target("globex")
    assert (row.state, row.version_after, row.digest_after) == ("upgraded", "1.5", OTHER_SUM)
    (proof,) = proven(target_id)
    assert (proof["_"], proof["_of"], proof["tenant"]) == ("outcome", "globex", "globex")
    assert (proof["digest_before"], proof["digest_after"]) == (SUM, OTHER_SUM)
    assert (proof["version_before"], proof["read_version"], proof["outcome"]) == ("1.4", "1.5", "upgraded")
    assert (proof["plan_checksum"], proof["definition_checksum"]) == (SUM, SUM)
    assert [each["name"] for each in proof["steps"]] == ["add", "fill", "drop"]
    (event,) = look("SELECT * FROM events WHERE type = 'operations.migration.target_upgraded'")
    assert (event["tenant_id"], event["data"]["target"], event["data"]["read_version"]) == ("globex", "globex", "1.5")


def test_a_target_that_failed_says_why_to_people_and_proves_the_word_alone(
    campaign: Campaign, proven: Proven, look: Look, control: Control
) -> None:
    target_id = put(campaign, TargetState.VERIFYING)
    why = "it says it is at Huber's, and has to be at 1.5"
    campaign.by_itself(targets.failed, target_id, back=False, code="not_at_version", why=why, version="1.4")
    row = campaign.target("acme")
    assert (row.state, row.reason_code, row.reason) == ("failed", "not_at_version", why)
    (proof,) = proven(target_id)
    assert (proof["reason"], proof["outcome"]) == ("not_at_version", "failed")
    for text in look(
        "SELECT convert_from(payload, 'UTF8') AS t FROM evidence_records UNION SELECT data::text FROM events"
    ):
        assert "Huber" not in text["t"]
    with control():
        assert why_failed(campaign.id, wave=0) == f"acme: {why}"


def test_a_target_may_end_several_times_and_each_is_another_record(campaign: Campaign, proven: Proven) -> None:
    for _ in range(2):
        target_id = put(campaign, TargetState.VERIFYING)
        campaign.by_itself(targets.verified, target_id, back=False, version="1.5", digest=SUM)
        put(campaign, TargetState.VERIFYING_BACK)
        campaign.by_itself(targets.verified, target_id, back=True, version="1.4", digest=SUM)
    assert [each["outcome"] for each in proven(target_id)] == ["upgraded", "reverted"] * 2


def test_an_end_that_is_killed_leaves_state_event_and_evidence_as_they_were(
    campaign: Campaign, told: Told, proven: Proven, control: Control
) -> None:
    target_id = put(campaign, TargetState.VERIFYING)
    before = told(campaign)
    with control(), killed_before_commit():
        targets.verified(target_id, back=False, version="1.5", digest=SUM)
    assert (campaign.target("acme").state, told(campaign), proven(target_id)) == ("verifying", before, [])


def test_the_version_that_was_read_last_is_known_of_each_target(
    campaign: Campaign, made: Made, control: Control
) -> None:
    target_id = put(campaign, TargetState.VERIFYING)
    with control():
        assert recorded(module="crm", kind="tenant", keys=["acme", "globex"]) == {}
    campaign.by_itself(targets.verified, target_id, back=False, version="1.5", digest=SUM)
    put(campaign, TargetState.VERIFYING_BACK)
    with control():
        assert recorded(module="crm", kind="tenant", keys=["acme", "globex"]) == {"acme": "1.5"}
    campaign.by_itself(targets.verified, target_id, back=True, version="1.4", digest=SUM)
    with control():
        assert recorded(module="crm", kind="tenant", keys=["acme", "globex"]) == {"acme": "1.4"}
        assert recorded(module="shop", kind="tenant", keys=["acme"]) == {}


# the walls


def test_each_tenant_sees_its_own_targets_and_the_account_no_others(campaign: Campaign) -> None:
    for tenant, own in (("acme", ["acme"]), ("globex", ["globex"]), ("sandbox", [])):
        with in_tenant(tenant):
            assert [each.key for each in Target.objects.all()] == own
            assert [each.key for each in Target.every.all()] == own
            assert {each.tenant_id for each in Step.every.all()} == set(own)
            for table in OF_TARGETS:
                assert tenants_in(table) == own


def test_the_campaign_itself_is_the_accounts_alone(campaign: Campaign, made: Made) -> None:
    other = made(definition(module="shop")).laid(["acme"], approvals=1)
    other.ask(asking.approve)
    for tenant, seen in (("acme", 1), ("globex", 0), ("sandbox", 0)):
        with in_tenant(tenant):
            for model in (Approval, Migration, Wave):
                assert bool(model.every.count()) is bool(seen), model


@pytest.mark.parametrize("model", [Migration, Approval, Wave, Target, Step])
def test_a_manager_answers_inside_a_context_alone(campaign: Campaign, model: Any) -> None:
    with pytest.raises(NoTenantContextError):
        model.objects.count()
    for table in TABLES:
        assert tenants_in(table) == []


@pytest.mark.parametrize("table", ["migration_waves", *OF_TARGETS])
def test_what_becomes_of_waves_and_targets_is_the_migrators_alone(campaign: Campaign, table: str, look: Look) -> None:
    before = look(f"SELECT * FROM {table} ORDER BY 1")
    with in_tenant("acme"), refused():
        ask_nothing(f"UPDATE {table} SET state = 'waiting'")
    with operator_reading(), refused():
        ask_nothing(f"UPDATE {table} SET state = 'waiting'")
    assert look(f"SELECT * FROM {table} ORDER BY 1") == before


def test_a_tenant_moves_no_migration_of_anothers_account(campaign: Campaign) -> None:
    with in_tenant("globex"):
        assert ask_nothing("UPDATE migrations SET status = 'succeeded'") == 0
    assert campaign.row().status == "running"


@pytest.mark.parametrize("statement", [f"DELETE FROM {table}" for table in TABLES])
def test_nobody_takes_a_row_of_a_migration_away(campaign: Campaign, statement: str, control: Control) -> None:
    with in_tenant("acme"), refused():
        ask_nothing(statement)
    with operator_reading(), refused():
        ask_nothing(statement)
    with control(), refused():
        ask_nothing(statement)
