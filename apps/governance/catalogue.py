"""The built-in decision point of Governance: answers from the contracts and policies in this database.

Asked inside a tenant context. What it decides is in `decide`, values in, values out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from apps.core.authzen import Answer, Question
from apps.core.database import loaded, preparing
from apps.core.digests import digest_of
from apps.core.ids import uuid7

LONGEST_VERSION = 9  # digits: what an integer column holds


class ContractFacts(NamedTuple):
    """What a decision needs of a contract version."""

    state: str
    job_types: Sequence[str]
    tenants: Sequence[str] | None
    digest: str
    obligations: dict[str, Any]


class PolicyFacts(NamedTuple):
    """What a decision needs of a standing prohibition."""

    policy_id: str
    job_types: Sequence[str]
    tenants: Sequence[str] | None
    except_tenants: Sequence[str]
    reason_code: str
    reason: str

    def forbids(self, question: Question) -> bool:
        """Say whether this policy matches the question."""
        if question.tenant_id in self.except_tenants:
            return False
        if self.tenants is not None and question.tenant_id not in self.tenants:
            return False
        return any(fnmatchcase(question.job_type, pattern) for pattern in self.job_types)


class Verdict(NamedTuple):
    """A decision without its identity."""

    allowed: bool
    reason_code: str
    reason: str


ALLOWED = Verdict(True, "allowed", "")


def decide(  # noqa: PLR0911 - a list of reasons reads best as one
    question: Question, *, tenant_state: str | None, contract: ContractFacts | None, policies: Sequence[PolicyFacts]
) -> Verdict:
    """Return the verdict: the tenant must be active, no policy may forbid, a named contract must cover the work."""
    if tenant_state != "active":
        return Verdict(False, "tenant_not_active", f"tenant '{question.tenant_id}' is {tenant_state or 'unknown'}")
    for policy in policies:
        if policy.forbids(question):
            return Verdict(False, policy.reason_code, policy.reason)
    if question.contract is None:
        return ALLOWED
    name = question.contract
    if contract is None:
        return Verdict(False, "contract_unknown", f"there is no contract '{name}' for this tenant")
    # A retired contract lets nothing new begin; what began under it may come to its end.
    if contract.state != "active" and not (contract.state == "retired" and question.action == "operations.continue"):
        return Verdict(False, "contract_not_active", f"contract '{name}' is {contract.state}")
    if not any(fnmatchcase(question.job_type, pattern) for pattern in contract.job_types):
        return Verdict(False, "contract_other_type", f"contract '{name}' does not cover '{question.job_type}'")
    region = contract.obligations.get("region")
    if region and region != question.region:
        return Verdict(False, "region_forbidden", f"contract '{name}' keeps its work in region '{region}'")
    return ALLOWED


EVERY_FACT = """
SELECT (SELECT jsonb_object_agg(tenant_id, state) FROM tenants WHERE tenant_id = ANY (%(tenants)s)),
       (SELECT jsonb_agg(jsonb_build_array(name, version, state, to_jsonb(job_types), to_jsonb(tenants), digest,
               obligations)) FROM contracts
         WHERE (name, version) IN (SELECT * FROM unnest(%(names)s::text[], %(versions)s::int[]))),
       (SELECT coalesce(jsonb_agg(jsonb_build_array(policy_id, to_jsonb(job_types), to_jsonb(tenants),
               to_jsonb(except_tenants), reason_code, reason) ORDER BY policy_id), '[]') FROM policies WHERE active)
"""

# Whatever a decision depends on, as one word: while it stays the same, so does every answer.
REVISION = """
SELECT md5(concat(
  (SELECT string_agg(concat_ws(' ', tenant_id, state), ',' ORDER BY tenant_id) FROM tenants),
  (SELECT string_agg(concat_ws(' ', name, version, state, digest), ',' ORDER BY name, version) FROM contracts),
  (SELECT string_agg(md5(p::text), ',' ORDER BY policy_id) FROM policies p)))
"""

FACTS = """
SELECT (SELECT state FROM tenants WHERE tenant_id = %(tenant)s),
       (SELECT jsonb_build_array(state, to_jsonb(job_types), to_jsonb(tenants), digest, obligations) FROM contracts
         WHERE name = %(name)s AND version = %(version)s AND (tenants IS NULL OR %(tenant)s = ANY (tenants))),
       (SELECT coalesce(jsonb_agg(jsonb_build_array(policy_id, to_jsonb(job_types), to_jsonb(tenants),
               to_jsonb(except_tenants), reason_code, reason) ORDER BY policy_id), '[]') FROM policies WHERE active)
"""


class Catalogue:
    """Governance out of this database, in one round trip."""

    def evaluate(self, question: Question) -> Answer:
        """Answer `question` from the catalogue."""
        name, version = parse_reference(question.contract)
        with preparing() as cursor:
            cursor.execute(FACTS, {"tenant": question.tenant_id, "name": name, "version": version})
            state, contract_row, policy_rows = cursor.fetchone() or (None, None, [])
        contract = ContractFacts(*loaded(contract_row)) if contract_row else None
        policies = [PolicyFacts(*row) for row in loaded(policy_rows)]
        return _answer(question, tenant_state=state, contract=contract, policies=policies)

    def evaluate_all(self, questions: Sequence[Question]) -> list[Answer]:
        """Answer `questions`, of whatever tenants the session may see, in one round trip."""
        named = {parse_reference(each.contract) for each in questions if each.contract is not None}
        pairs = sorted((name, version) for name, version in named if name is not None and version is not None)
        values = {
            "tenants": sorted({each.tenant_id for each in questions}),
            "names": [name for name, _ in pairs],
            "versions": [version for _, version in pairs],
        }
        with preparing() as cursor:
            cursor.execute(EVERY_FACT, values)
            states, contract_rows, policy_rows = cursor.fetchone() or (None, None, [])
        tenants: Mapping[str, str] = loaded(states) or {}
        contracts = {f"{name}@{version}": ContractFacts(*rest) for name, version, *rest in loaded(contract_rows) or ()}
        policies = [PolicyFacts(*row) for row in loaded(policy_rows)]
        return [
            _answer(
                each,
                tenant_state=tenants.get(each.tenant_id),
                contract=_visible(contracts.get(each.contract or ""), tenant_id=each.tenant_id),
                policies=policies,
            )
            for each in questions
        ]

    def revision(self) -> str:
        """Return the word for all that answers depend on; for the loops, whose role sees every tenant."""
        with preparing() as cursor:
            cursor.execute(REVISION)
            (word,) = cursor.fetchone() or ("",)
        return str(word)


def _visible(contract: ContractFacts | None, *, tenant_id: str) -> ContractFacts | None:
    """Return the contract if it is for the tenant: of another's it does not learn that it exists."""
    if contract is None or (contract.tenants is not None and tenant_id not in contract.tenants):
        return None
    return contract


def _answer(
    question: Question, *, tenant_state: str | None, contract: ContractFacts | None, policies: Sequence[PolicyFacts]
) -> Answer:
    """Return the verdict with its identity."""
    verdict = decide(question, tenant_state=tenant_state, contract=contract, policies=policies)
    revision = digest_of([contract and contract.digest, [list(policy) for policy in policies]])
    return Answer(
        allowed=verdict.allowed,
        decision_id=uuid7(),
        policy_revision=f"catalogue:{revision[7:19]}",
        reason_code=verdict.reason_code,
        reason=verdict.reason,
        obligations=contract.obligations if contract else {},
    )


def parse_reference(reference: str | None) -> tuple[str | None, int | None]:
    """Return (name, version) of `name@version`; (None, None) when it is no such reference.

    One version has one spelling: `name@03` would be allowed as `name@3` and then not be found by that text.
    """
    name, at, version = (reference or "").rpartition("@")
    if not at or not name or not version.isascii() or not version.isdigit() or len(version) > LONGEST_VERSION:
        return None, None
    if version.startswith("0") and version != "0":
        return None, None
    return name, int(version)
