"""Every write of the built-in catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction

from apps.core.digests import digest_of
from apps.governance.models import Contract, ContractState


class ContractChangedError(Exception):
    """A published contract version was given another text: versions are immutable."""


def publish_contract(
    *,
    name: str,
    version: int,
    job_types: Sequence[str],
    document: Mapping[str, Any],
    obligations: Mapping[str, Any] | None = None,
    tenants: Sequence[str] | None = None,
) -> Contract:
    """Make `name@version` active and return it; the same text twice is the same contract.

    Raises `ContractChangedError` when that version exists with another text.
    """
    digest = digest_of({"document": document, "job_types": sorted(job_types), "tenants": tenants})
    with transaction.atomic():
        contract, created = Contract.objects.get_or_create(
            name=name,
            version=version,
            defaults={
                "state": ContractState.ACTIVE,
                "job_types": list(job_types),
                "tenants": None if tenants is None else list(tenants),
                "document": dict(document),
                "obligations": dict(obligations or {}),
                "digest": digest,
            },
        )
    if not created and contract.digest != digest:
        raise ContractChangedError(f"{contract} is published with another text: give the new text a new version")
    return contract
