"""How a migration stands, read for whoever may see all of its targets, or only some tenants'.

A migration's own rows are its account's; its targets and their steps are their tenants', behind row-level security. So
whoever may see some tenants has each of theirs read in that tenant's own context. What is looked at across tenants for
them tells counts, and which names they must not hear.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Count, Q

from apps.migrations.lifecycle import ACTIVE, UNFINISHED, TargetState
from apps.migrations.models import Migration, Step, Target
from apps.tenancy.context import in_tenant, operator_reading
from apps.tenancy.principals import AllTenants, Tenants

MOST_SET_ASIDE = 1000


class NoSuchTargetError(LookupError):
    """A page of targets was to begin after one that is not there, or not the caller's to see."""


@dataclass(frozen=True, kw_only=True)
class Crowd:
    """All targets of a migration as counts, and those that one caller may see: a page of them, and who was set aside.

    `hidden`: the keys of those that they may not; `named`: of those that they may.
    """

    seen: Tenants
    by_wave: dict[int, Counter[str]]
    set_aside_total: int
    unnamed: int
    hidden: frozenset[str]
    named: frozenset[str]
    targets: list[Target] = field(default_factory=list)
    steps: dict[UUID, list[Step]] = field(default_factory=dict)
    next: UUID | None = None
    set_aside: list[Target] = field(default_factory=list)

    @property
    def by_state(self) -> Counter[str]:
        """Return how many targets of the plan are in which state."""
        return sum(self.by_wave.values(), Counter())

    @property
    def total(self) -> int:
        """Return how many targets the plan has."""
        return self.by_state.total()


class _Page(NamedTuple):
    ids: list[UUID]
    tenants: set[str]
    more: UUID | None


def crowd(migration_id: UUID, *, seen: Tenants, after: UUID | None, limit: int) -> Crowd:
    """Return a migration's targets as a caller may see them: `limit` of them, after the target `after` if it says so.

    Outside of any context. Raises `NoSuchTargetError`.
    """
    with operator_reading():
        mine = Target.objects.filter(migration_id=migration_id)
        may = Q() if isinstance(seen, AllTenants) else Q(tenant_id__in=seen)
        by_wave = counts(migration_id)
        aside = _ids(mine.filter(may, wave=None).order_by("key"), limit=MOST_SET_ASIDE)
        page = _ids(_behind(mine.filter(may, wave__isnull=False), after=after), limit=limit)
        others = mine.exclude(may) if may else mine.none()
        hidden = frozenset(others.values_list("key", flat=True))
        named = frozenset(mine.filter(may).values_list("key", flat=True)) if may else frozenset()
        unnamed = others.filter(wave__isnull=False).count()
        set_aside_total = mine.filter(wave=None).count()
        if isinstance(seen, AllTenants):
            found, steps = _read([*page.ids, *aside.ids])
    if not isinstance(seen, AllTenants):
        found, steps = {}, {}
        for tenant_id in sorted(page.tenants | aside.tenants):
            with in_tenant(tenant_id):
                more, theirs = _read([*page.ids, *aside.ids])
            found |= more
            steps |= theirs
    return Crowd(
        seen=seen,
        by_wave=by_wave,
        set_aside_total=set_aside_total,
        unnamed=unnamed,
        hidden=hidden,
        named=named,
        targets=[found[each] for each in page.ids if each in found],
        steps=steps,
        next=page.more,
        set_aside=[found[each] for each in aside.ids if each in found],
    )


def counts(migration_id: UUID) -> dict[int, Counter[str]]:
    """Return how many targets of each wave are in which state, in the current context."""
    found: dict[int, Counter[str]] = {}
    rows = Target.objects.filter(migration_id=migration_id, wave__isnull=False).order_by()
    for wave, state, count in rows.values_list("wave", "state").annotate(count=Count("target_id")):
        found.setdefault(wave, Counter())[state] = count
    return found


def _ids(rows: Any, *, limit: int) -> _Page:
    come = list(rows.values_list("target_id", "tenant_id")[: limit + 1])
    shown = come[:limit]
    more = shown[-1][0] if len(come) > limit else None
    return _Page([each for each, _ in shown], {tenant for _, tenant in shown}, more)


def _behind(rows: Any, *, after: UUID | None) -> Any:
    """Return targets in the order in which they go, those behind `after`."""
    ordered = rows.order_by("wave", "position", "target_id")
    if after is None:
        return ordered
    last = rows.filter(target_id=after).values_list("wave", "position").first()
    if last is None:
        raise NoSuchTargetError(after)
    wave, position = last
    return ordered.filter(
        Q(wave__gt=wave) | Q(wave=wave, position__gt=position) | Q(wave=wave, position=position, target_id__gt=after)
    )


def _read(ids: Sequence[UUID]) -> tuple[dict[UUID, Target], dict[UUID, list[Step]]]:
    """Return the targets of these ids that the current context has, and their steps in order."""
    found = {row.target_id: row for row in Target.objects.filter(target_id__in=ids)}
    steps: dict[UUID, list[Step]] = {}
    for step in Step.objects.filter(target_id__in=found).order_by("number"):
        steps.setdefault(step.target_id, []).append(step)
    return found, steps


def unseen(migration_ids: Sequence[UUID], *, seen: Tenants) -> dict[UUID, frozenset[str]]:
    """Return the keys of each migration's targets that a caller must not hear of; across tenants."""
    if isinstance(seen, AllTenants):
        return {}
    found: dict[UUID, set[str]] = {}
    others = Target.objects.filter(migration_id__in=migration_ids).exclude(tenant_id__in=seen)
    for migration_id, key in others.values_list("migration_id", "key"):
        found.setdefault(migration_id, set()).add(key)
    return {each: frozenset(keys) for each, keys in found.items()}


def newest_by_module() -> dict[str, float]:
    """Return how far each module's newest migration is that began; across tenants, for the figures."""
    begun = Migration.objects.filter(started_at__isnull=False).order_by("module", "-id").distinct("module")
    return dict(begun.values_list("module", "progress"))


def targets_under_way() -> dict[str, int]:
    """Return how many targets of migrations that began and are not over are in each state; across tenants."""
    states = [state.value for state in UNFINISHED]
    going = Target.objects.filter(migration__status__in=states, migration__started_at__isnull=False).order_by()
    found = dict(going.values_list("state").annotate(count=Count("target_id")))
    return {state.value: found.get(state.value, 0) for state in TargetState}


def under_way() -> int:
    """Return how many migrations have begun and are not over, in the current context."""
    return Migration.objects.filter(status__in=[state.value for state in ACTIVE]).count()
