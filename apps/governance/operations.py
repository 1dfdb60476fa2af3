"""Every write of the built-in catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction

from apps.core.database import ClockTimestamp
from apps.core.digests import digest_of
from apps.governance import lifecycle, odcs
from apps.governance.models import Contract, ContractState, Policy


class ContractChangedError(Exception):
    """A published contract version was given another text: versions are immutable."""


class BadDocumentError(ValueError):
    """A contract's document says that it is an Open Data Contract and is none; the message names each field."""


class ContractExistsError(Exception):
    """A draft was asked for under a name and version that is taken."""


class NoContractError(Exception):
    """There is no such contract version."""


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
    digest = _digest(job_types=job_types, document=document, obligations=obligations, tenants=tenants)
    with transaction.atomic():
        contract, created = Contract.objects.get_or_create(
            name=name,
            version=version,
            defaults={
                "state": ContractState.ACTIVE,
                **_text(job_types=job_types, document=document, obligations=obligations, tenants=tenants),
            },
        )
    if not created and contract.digest != digest:
        raise ContractChangedError(f"{contract} is published with another text: give the new text a new version")
    return contract


def draft_contract(
    *,
    name: str,
    version: int,
    job_types: Sequence[str],
    document: Mapping[str, Any],
    obligations: Mapping[str, Any] | None = None,
    tenants: Sequence[str] | None = None,
) -> Contract:
    """Write `name@version` down as a draft and return it; nothing runs under it until it is activated.

    Raises `ContractExistsError` when that version exists, in whatever state.
    """
    contract, created = Contract.objects.get_or_create(
        name=name,
        version=version,
        defaults={
            "state": ContractState.DRAFT,
            **_text(job_types=job_types, document=document, obligations=obligations, tenants=tenants),
        },
    )
    if not created:
        raise ContractExistsError(f"{contract} exists: give the new text the next version")
    return contract


def redraft_contract(
    *,
    name: str,
    version: int,
    job_types: Sequence[str],
    document: Mapping[str, Any],
    obligations: Mapping[str, Any] | None = None,
    tenants: Sequence[str] | None = None,
) -> None:
    """Give the draft `name@version` another text; raise `ContractChangedError` when it is no draft any more."""
    text = _text(job_types=job_types, document=document, obligations=obligations, tenants=tenants)
    if not Contract.objects.filter(name=name, version=version, state=ContractState.DRAFT).update(**text):
        raise ContractChangedError(f"{name}@{version} is no draft: give the new text a new version")


def activate_contract(*, name: str, version: int) -> None:
    """Let work run under `name@version`, a draft or a retired version; raises as `_move`."""
    _move(name=name, version=version, target=ContractState.ACTIVE)


def retire_contract(*, name: str, version: int) -> None:
    """Let nothing new run under `name@version`; raises as `_move`."""
    _move(name=name, version=version, target=ContractState.RETIRED)


def discard_draft(*, name: str, version: int) -> None:
    """Delete the draft `name@version`; raise `ContractChangedError` when jobs may already have run under it."""
    deleted, _ = Contract.objects.filter(name=name, version=version, state=ContractState.DRAFT).delete()
    if not deleted:
        raise ContractChangedError(f"{name}@{version} is no draft: a published version stays, it can be retired")


def put_policy(
    *,
    policy_id: str,
    job_types: Sequence[str],
    reason_code: str,
    reason: str,
    tenants: Sequence[str] | None = None,
    except_tenants: Sequence[str] = (),
    active: bool = True,
) -> Policy:
    """Lay down the prohibition `policy_id`, or replace it whole; return it."""
    policy, _ = Policy.objects.update_or_create(
        policy_id=policy_id,
        defaults={
            "job_types": list(job_types),
            "tenants": None if tenants is None else list(tenants),
            "except_tenants": list(except_tenants),
            "reason_code": reason_code,
            "reason": reason,
            "active": active,
            "changed_at": ClockTimestamp(),
        },
    )
    return policy


def lift_policy(*, policy_id: str) -> None:
    """Take the prohibition away; one that is gone already is no error."""
    Policy.objects.filter(policy_id=policy_id).delete()


def _move(*, name: str, version: int, target: ContractState) -> None:
    """Bring a contract version into state `target`, by compare-and-set; one that is there already is left.

    Raises `NoContractError`, or `IllegalContractMoveError` which says where it may go.
    """
    versions = Contract.objects.filter(name=name, version=version)
    if versions.filter(state__in=lifecycle.sources(target.value)).update(state=target):
        return
    state = versions.values_list("state", flat=True).first()
    if state is None:
        raise NoContractError(f"there is no contract {name}@{version}")
    if state != target:
        raise lifecycle.illegal(name=f"{name}@{version}", state=state, target=target.value)


def _text(
    *,
    job_types: Sequence[str],
    document: Mapping[str, Any],
    obligations: Mapping[str, Any] | None,
    tenants: Sequence[str] | None,
) -> dict[str, Any]:
    """Return the columns of a contract's text, its digest among them; raise `BadDocumentError`."""
    wrong = odcs.problems(document)
    if wrong:
        raise BadDocumentError("; ".join(f"document.{each.field}: {each.message}" for each in wrong))
    return {
        "job_types": list(job_types),
        "tenants": None if tenants is None else list(tenants),
        "document": dict(document),
        "obligations": dict(obligations or {}),
        "digest": _digest(job_types=job_types, document=document, obligations=obligations, tenants=tenants),
    }


def _digest(
    *,
    job_types: Sequence[str],
    document: Mapping[str, Any],
    obligations: Mapping[str, Any] | None,
    tenants: Sequence[str] | None,
) -> str:
    """Return the digest by which jobs name the text they ran under."""
    text = {"document": document, "job_types": sorted(job_types), "obligations": obligations or {}, "tenants": tenants}
    return digest_of(text)
