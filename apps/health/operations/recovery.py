"""Recovery: which policies call for what now, and the receipts of what was done. For the watcher, and by hand.

A receipt is written before anything is done, in the transaction that counted the hour's budget: a watcher that is
killed in the middle leaves a receipt that says so, and never two for one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.db import transaction

from apps.core.database import clock
from apps.core.ids import uuid7
from apps.health import events, remedies
from apps.health.actions import Order
from apps.health.models import Component, Policy, Receipt
from apps.health.operations.standing import condition, identity, owned_by, tell
from apps.health.remedies import Outcome, Rule, Verdict

INTERRUPTED_AFTER = timedelta(seconds=60)
SHED = "shed_bulk"


class Called(NamedTuple):
    """A policy that a component's condition calls for, and whether it may act."""

    policy: Policy
    row: Component
    verdict: Verdict


def rule_of(policy: Policy) -> Rule:
    """Return what a policy says, as a value."""
    return Rule(
        pattern=policy.pattern,
        statuses=policy.statuses,
        reasons=policy.reasons,
        after_s=policy.after_s,
        cooldown_s=policy.cooldown_s,
        budget_per_hour=policy.budget_per_hour,
    )


def called_for(*, at: datetime, policy_id: str | None = None) -> list[Called]:
    """Return what the policies call for now, of one or of all that are enabled; writes nothing."""
    bad = list(Component.every.filter(status__in=["degraded", "down", "unknown"], deleted_at=None))
    if not bad:
        return []
    policies = Policy.objects.filter(policy_id=policy_id) if policy_id else Policy.objects.filter(enabled=True)
    rules = [(policy, rule_of(policy)) for policy in policies]
    return [
        Called(policy, row, _verdict(policy, rule, row=row, at=at))
        for row in bad
        for policy, rule in rules
        if rule.covers(module=row.module, component=row.component)
        and rule.holds(status=row.status, reason=row.reason, since=row.since, muted=bool(row.muted_by), now=at)
    ]


def begin(*, at: datetime) -> list[Order]:
    """Write a receipt for each recovery that may begin, tell of budgets that are spent; return what is to be done."""
    orders = []
    for called in called_for(at=at):
        if called.verdict is Verdict.COOLING:
            continue
        with transaction.atomic():
            # Under the row's lock: what calls for a recovery must still be so, and nobody else begins it meanwhile.
            row = Component.every.select_for_update(no_key=True).get(component_id=called.row.component_id)
            if row.status != called.row.status or _verdict_now(called.policy, row=row, at=at) is not called.verdict:
                continue
            if called.verdict is Verdict.EXHAUSTED:
                if not called.policy.dry_run:  # nothing was done so often: it is nobody's turn
                    _exhausted(called.policy, row=row, at=at)
            elif called.policy.dry_run:
                rehearse(called.policy, row=row, by=called.policy.policy_id, at=at)
            else:
                orders.append(_ordered(called.policy, row=row, by=called.policy.policy_id, at=at))
    return orders


def by_hand(policy: Policy, *, row: Component, by: str) -> Order:
    """Write the receipt of a recovery that a person orders, whatever its condition; return what is to be done."""
    with transaction.atomic():
        return _ordered(policy, row=row, by=f"by:{by}", at=clock())


def rehearse(policy: Policy, *, row: Component, by: str, at: datetime | None = None) -> Receipt:
    """Write the receipt of a recovery that is not done: what would have been, and whether its condition holds."""
    at = at or clock()
    rule = rule_of(policy)
    holds = rule.holds(status=row.status, reason=row.reason, since=row.since, muted=bool(row.muted_by), now=at)
    verdict = _verdict(policy, rule, row=row, at=at)
    facts = {"would": policy.action, "condition_holds": holds, "verdict": verdict.value}
    made = _receipt(policy, row=row, by=by, at=at, outcome=Outcome.REHEARSED, facts=facts)
    _tell(made, row=row)
    return made


def acted(receipt_id: UUID, *, facts: Mapping[str, Any]) -> None:
    """Write what the action did; where it says itself whether it helped, the receipt is settled by that."""
    running = Receipt.every.filter(receipt_id=receipt_id, outcome=Outcome.RUNNING, acted_at=None)
    helped = facts.get("helped")
    with transaction.atomic():
        if running.update(facts=dict(facts), acted_at=clock()) and helped is not None:
            _settle(receipt_id, outcome=Outcome.HELPED if helped else Outcome.DID_NOT_HELP)


def failed(receipt_id: UUID, *, code: str) -> None:
    """Write that the action could not be done."""
    with transaction.atomic():
        running = Receipt.every.filter(receipt_id=receipt_id, outcome=Outcome.RUNNING)
        if running.update(facts={"error": code[:64]}, acted_at=clock()):
            _settle(receipt_id, outcome=Outcome.FAILED)


def prove(*, at: datetime, trusted: bool) -> int:
    """Settle the receipts whose component is well again, or whose patience is over; return how many."""
    settled = 0
    for found in Receipt.every.filter(outcome=Outcome.RUNNING).select_related("component")[:500]:
        if found.acted_at is None:
            if at - found.begun_at > INTERRUPTED_AFTER:
                failed(found.receipt_id, code="interrupted")
                settled += 1
            continue
        outcome = remedies.outcome(status=found.component.status, patience_over=at >= found.prove_by, trusted=trusted)
        if outcome is not Outcome.RUNNING:
            with transaction.atomic():
                _settle(found.receipt_id, outcome=outcome)
            settled += 1
    return settled


def shed_wanted(*, at: datetime) -> list[str]:
    """Return the components for whose sake the bulk band is held back now: none once they are well, or time is up."""
    found = Receipt.every.filter(
        action=SHED, dry_run=False, acted_at__isnull=False, begun_at__gt=at - timedelta(hours=1)
    ).exclude(outcome=Outcome.FAILED)
    return sorted(
        {
            str(each.component)
            for each in found.select_related("component")
            if each.component.status != "up"
            and at - each.begun_at < timedelta(seconds=float(each.params.get("hold_s", 900)))
        }
    )


def _verdict(policy: Policy, rule: Rule, *, row: Component, at: datetime) -> Verdict:
    mine = Receipt.every.filter(policy=policy.policy_id, component=row, begun_at__gt=at - remedies.HOUR)
    lately: Sequence[tuple[datetime, str, bool]] = list(mine.values_list("begun_at", "outcome", "dry_run"))
    if any(outcome == Outcome.RUNNING for _, outcome, _ in lately):
        return Verdict.COOLING
    begun = [begun for begun, outcome, dry in lately if outcome != Outcome.EXHAUSTED and dry == policy.dry_run]
    verdict = remedies.verdict(rule, begun=begun, now=at)
    told = any(outcome == Outcome.EXHAUSTED for _, outcome, _ in lately)
    return Verdict.COOLING if verdict is Verdict.EXHAUSTED and told else verdict


def _verdict_now(policy: Policy, *, row: Component, at: datetime) -> Verdict:
    return _verdict(policy, rule_of(policy), row=row, at=at)


def _ordered(policy: Policy, *, row: Component, by: str, at: datetime) -> Order:
    made = _receipt(policy, row=row, by=by, at=at, outcome=Outcome.RUNNING, facts={})
    return Order(
        receipt_id=made.receipt_id,
        action=policy.action,
        tenant_id=row.tenant_id,
        module=row.module,
        component=row.component,
        condition=made.condition,
        since=row.since,
        params=made.params,
        by=by,
    )


def _exhausted(policy: Policy, *, row: Component, at: datetime) -> None:
    _receipt(policy, row=row, by=policy.policy_id, at=at, outcome=Outcome.EXHAUSTED, facts={})
    data = {
        **identity(row),
        "policy": policy.policy_id,
        "action": policy.action,
        "budget_per_hour": policy.budget_per_hour,
        "condition": condition(row),
    }
    told = {"event_type": events.EXHAUSTED, "event_subject": str(row.component_id), "event_data": data}
    tell([told], tenant_id=row.tenant_id)


def _receipt(
    policy: Policy, *, row: Component, by: str, at: datetime, outcome: Outcome, facts: Mapping[str, Any]
) -> Receipt:
    over = outcome is not Outcome.RUNNING
    made = Receipt(
        receipt_id=uuid7(),
        tenant_id=row.tenant_id,
        component_id=row.component_id,
        policy=by[:64],
        action=policy.action,
        params=policy.params,
        condition=condition(row),
        outcome=outcome.value,
        facts=dict(facts),
        dry_run=outcome is Outcome.REHEARSED,
        begun_at=at,
        prove_by=at + timedelta(seconds=policy.patience_s),
        settled_at=at if over else None,
        region=row.region,
        classification=row.classification,
    )
    Receipt.every.bulk_create([made])
    return made


def _settle(receipt_id: UUID, *, outcome: Outcome) -> None:
    found = Receipt.every.select_related("component").get(receipt_id=receipt_id)
    at = clock()
    proof = {**condition(found.component), "after_s": round((at - found.begun_at).total_seconds(), 3)}
    settled = Receipt.every.filter(receipt_id=receipt_id, outcome=Outcome.RUNNING)
    if settled.update(outcome=outcome.value, proof=proof, settled_at=at):
        found.outcome, found.proof = outcome.value, proof
        _tell(found, row=found.component)


def _tell(receipt: Receipt, *, row: Component) -> None:
    data = {
        **identity(row),
        "receipt_id": str(receipt.receipt_id),
        "policy": receipt.policy,
        "action": receipt.action,
        "condition": receipt.condition,
        "outcome": receipt.outcome,
        "proof": {**receipt.facts, **receipt.proof},
    }
    told = {"event_type": events.RECOVERY, "event_subject": str(receipt.receipt_id), "event_data": data}
    with owned_by(row):
        tell([told], tenant_id=row.tenant_id)


def rehearse_now(policy: Policy, *, by: str) -> list[Receipt]:
    """Rehearse a policy on every component that it would act on now; return the receipts, each with its component."""
    at = clock()
    found = []
    for called in called_for(at=at, policy_id=policy.policy_id):
        with transaction.atomic():
            made = rehearse(policy, row=called.row, by=by, at=at)
        made.component = called.row
        found.append(made)
    return found
