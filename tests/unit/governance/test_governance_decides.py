"""Governance decides, values in, values out: tenant, prohibitions, contract, in this order; the first no counts."""

from __future__ import annotations

from typing import Any

import pytest

from apps.core.authzen import Question
from apps.governance.catalogue import ContractFacts, PolicyFacts, decide, parse_reference

ACTIVE = ContractFacts(
    state="active", job_types=["kpi.*"], tenants=None, digest="sha256:0", obligations={"retention_days": 365}
)
NO_CRASH = PolicyFacts(
    policy_id="no-crash",
    job_types=["ops.crash"],
    tenants=None,
    except_tenants=["sandbox"],
    reason_code="drills_only",
    reason="only in the sandbox",
)


def question(**changes: Any) -> Question:
    values: dict[str, Any] = {
        "subject": "data-acquisition",
        "action": "operations.submit",
        "job_type": "kpi.refresh",
        "contract": None,
        "tenant_id": "acme",
        "environment": "default",
        "region": "local",
        "priority": "normal",
    }
    return Question(**(values | changes))


def decided(
    asked: Question, *, state: str | None = "active", contract: ContractFacts | None = None, policies: Any = ()
) -> tuple[bool, str]:
    verdict = decide(asked, tenant_state=state, contract=contract, policies=policies)
    assert verdict.allowed or verdict.reason, "a refusal always says why in a sentence"
    return verdict.allowed, verdict.reason_code


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("active", (True, "allowed")),
        ("suspended", (False, "tenant_not_active")),
        ("closed", (False, "tenant_not_active")),
        (None, (False, "tenant_not_active")),
    ],
)
def test_only_an_active_tenant_may_submit(state: str | None, expected: tuple[bool, str]) -> None:
    assert decided(question(), state=state) == expected


@pytest.mark.parametrize(
    ("changes", "contract", "expected"),
    [
        ({"contract": None}, None, (True, "allowed")),
        ({"contract": "kpi.revenue@3"}, ACTIVE, (True, "allowed")),
        ({"contract": "kpi.revenue@3"}, None, (False, "contract_unknown")),
        ({"contract": "kpi.revenue@3"}, ACTIVE._replace(state="draft"), (False, "contract_not_active")),
        ({"contract": "kpi.revenue@3"}, ACTIVE._replace(state="retired"), (False, "contract_not_active")),
        ({"contract": "kpi.revenue@3", "job_type": "sql.transform"}, ACTIVE, (False, "contract_other_type")),
        ({"contract": "kpi.revenue@3", "job_type": "kpi"}, ACTIVE, (False, "contract_other_type")),
        ({"contract": "kpi.revenue@3"}, ACTIVE._replace(job_types=[]), (False, "contract_other_type")),
        ({"contract": "kpi.revenue@3"}, ACTIVE._replace(job_types=["*"]), (True, "allowed")),
        ({"contract": "kpi.revenue@3"}, ACTIVE._replace(job_types=["KPI.*"]), (False, "contract_other_type")),
        ({"contract": "kpi.revenue@3"}, ACTIVE._replace(obligations={"region": "eu"}), (False, "region_forbidden")),
        ({"contract": "kpi.revenue@3"}, ACTIVE._replace(obligations={"region": "local"}), (True, "allowed")),
    ],
)
def test_a_named_contract_must_be_known_active_and_cover_type_and_region(
    changes: dict[str, Any], contract: ContractFacts | None, expected: tuple[bool, str]
) -> None:
    assert decided(question(**changes), contract=contract) == expected


@pytest.mark.parametrize(
    ("tenant", "job_type", "policy", "expected"),
    [
        ("acme", "ops.crash", NO_CRASH, (False, "drills_only")),
        ("sandbox", "ops.crash", NO_CRASH, (True, "allowed")),
        ("acme", "ops.noop", NO_CRASH, (True, "allowed")),
        ("acme", "ops.noop", NO_CRASH._replace(job_types=["ops.*"]), (False, "drills_only")),
        ("acme", "ops.crash", NO_CRASH._replace(tenants=["globex"]), (True, "allowed")),
        ("globex", "ops.crash", NO_CRASH._replace(tenants=["globex"]), (False, "drills_only")),
        ("sandbox", "ops.crash", NO_CRASH._replace(tenants=["sandbox"]), (True, "allowed")),
        ("acme", "ops.crash", NO_CRASH._replace(tenants=[]), (True, "allowed")),
    ],
)
def test_a_prohibition_matches_by_type_and_tenant_and_spares_its_exceptions(
    tenant: str, job_type: str, policy: PolicyFacts, expected: tuple[bool, str]
) -> None:
    assert decided(question(tenant_id=tenant, job_type=job_type), policies=[policy]) == expected


def test_no_contract_lifts_a_prohibition_and_the_first_prohibition_is_the_reason() -> None:
    first = NO_CRASH._replace(policy_id="a", job_types=["kpi.*"], reason_code="frozen")
    second = NO_CRASH._replace(policy_id="b", job_types=["*"], reason_code="later")
    asked = question(contract="kpi.revenue@3")
    assert decided(asked, contract=ACTIVE, policies=[first, second]) == (False, "frozen")


def test_a_suspended_tenant_is_told_so_before_anything_else() -> None:
    asked = question(contract="kpi.revenue@3", job_type="ops.crash")
    assert decided(asked, state="suspended", policies=[NO_CRASH]) == (False, "tenant_not_active")


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("kpi.revenue@3", ("kpi.revenue", 3)),
        ("kpi.revenue@0", ("kpi.revenue", 0)),
        ("kpi@x@3", ("kpi@x", 3)),
        ("kpi.revenue@03", (None, None)),  # one version, one spelling: the claim compares the text
        ("kpi.revenue@00", (None, None)),
        ("kpi.revenue@1234567890", (None, None)),
        ("kpi.revenue@٣", (None, None)),
        ("kpi.revenue@²", (None, None)),
        ("kpi.revenue@-3", (None, None)),
        ("kpi.revenue@3 ", (None, None)),
        ("kpi.revenue@", (None, None)),
        ("kpi.revenue", (None, None)),
        ("@3", (None, None)),
        ("@", (None, None)),
        ("", (None, None)),
        (None, (None, None)),
    ],
)
def test_a_contract_is_named_by_name_and_version_in_one_spelling_only(reference: str | None, expected: Any) -> None:
    assert parse_reference(reference) == expected
