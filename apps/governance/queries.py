"""Every read of Governance's catalogue that others may use."""

from __future__ import annotations

from typing import Any

from apps.governance.catalogue import parse_reference
from apps.governance.models import Contract


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
