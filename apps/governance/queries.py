"""Every read of Governance's catalogue that others may use."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from apps.governance.catalogue import parse_reference
from apps.governance.models import Contract, Policy


def contract_digest(*, reference: str | None, tenant_id: str) -> str | None:
    """Return the digest of contract `name@version` as `tenant_id` may know it; None when there is none."""
    name, version = parse_reference(reference)
    if name is None or version is None:
        return None
    row = Contract.objects.filter(name=name, version=version).values_list("digest", "tenants").first()
    if row is None or (row[1] is not None and tenant_id not in row[1]):
        return None
    return row[0]


def contract_document(*, reference: str | None, tenant_id: str) -> dict[str, Any] | None:
    """Return the text of contract `name@version` as `tenant_id` may know it; None when there is none."""
    name, version = parse_reference(reference)
    if name is None or version is None:
        return None
    row = Contract.objects.filter(name=name, version=version).values_list("document", "tenants").first()
    if row is None or (row[1] is not None and tenant_id not in row[1]):
        return None
    return dict(row[0])


class Prohibition(NamedTuple):
    """What forbids something: the policy, its code, and its reason as the caller reads it."""

    policy_id: str
    reason_code: str
    reason: str


def prohibitions(*, tenant_id: str, names: Sequence[str]) -> dict[str, Prohibition]:
    """Return which of `names` a standing policy forbids a tenant, and by what: name → the first that does.

    Policies match by patterns of job types; what is no job has a name of the same form, such as `health.report`.
    """
    found: dict[str, Prohibition] = {}
    for policy in Policy.objects.filter(active=True).order_by("policy_id"):
        if tenant_id in policy.except_tenants or (policy.tenants is not None and tenant_id not in policy.tenants):
            continue
        for name in names:
            if any(fnmatchcase(name, pattern) for pattern in policy.job_types):
                found.setdefault(name, Prohibition(policy.policy_id, policy.reason_code, policy.reason))
    return found
