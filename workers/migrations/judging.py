"""What the gates of a wave are told: by the plane's own rows, by a target's database, by a module's endpoint.

The first half asks PostgreSQL in the migrator's own thread; `checks`, which asks others, runs in a thread that may take
its time and touches nothing of the plane's database.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Final, NamedTuple
from uuid import UUID

import psycopg

from apps.health import queries as health
from apps.jobs import failures, liveness
from apps.jobs.types import JobError
from apps.migrations import gates, versions
from apps.migrations.definition import Check, Definition, Kind
from apps.migrations.gates import Counts, Found
from apps.migrations.lifecycle import TargetState
from apps.migrations.models import Migration, Target, Wave
from workers.catalog import outbound, surroundings
from workers.migrations import target as targets

ANSWER_S: Final = 10.0


class Asked(NamedTuple):
    """A target of the wave that a check is asked of."""

    key: str
    tenant_id: str


def before(definition: Definition, *, migration: Migration, number: int, now: datetime) -> dict[str, Any]:
    """Return what a wave is compared with later: the module's health and failures as it begins. Across tenants."""
    rule = definition.gates.failure_rate
    facts: dict[str, Any] = {"health": health.standing_of(definition.module)}
    if rule is not None:
        since = now - timedelta(seconds=rule.baseline_s)
        found = failures.ended(
            module=definition.module, tenants=_tenants(migration.id, number), since=since, until=now
        )  # fmt: skip
        facts["attempts"] = list(found)
    return facts


def standing(definition: Definition, *, migration: Migration, wave: Wave, now: datetime) -> list[Found]:
    """Return what the plane's own rows say of a wave now. Across tenants."""
    begun: Mapping[str, Any] = wave.facts.get(migration.stage, {})
    found: list[Found] = []
    if definition.gates.health:
        found.append(gates.health(health.standing_of(definition.module), before=begun.get("health", {})))
    rule = definition.gates.failure_rate
    if rule is not None and wave.started_at is not None:
        ended = failures.ended(
            module=definition.module, tenants=_tenants(migration.id, wave.number), since=since(wave), until=now
        )
        found.append(
            gates.failure_rate(Counts(*ended), baseline=Counts(*begun.get("attempts", (0, 0))), rule=rule)
        )  # fmt: skip
    if definition.targets.database is not None:
        upgraded = Target.objects.filter(migration_id=migration.id, state="upgraded", digest_after__isnull=False)
        if migration.stage == "contract":
            upgraded = upgraded.filter(wave=wave.number)
        found.append(gates.alike(upgraded.values_list("key", "digest_before", "digest_after")))
    return found


def since(wave: Wave) -> datetime:
    """Return from when on a wave's failures count: its beginning, or when a person had it judged anew."""
    assert wave.started_at is not None  # noqa: S101 - it began
    anew = wave.facts.get("judged_since")
    return wave.started_at if anew is None else max(wave.started_at, datetime.fromisoformat(anew))


def old_versions(definition: Definition) -> list[str]:
    """Return who still is at a version that needs what a contract phase takes away. Across tenants."""
    module = definition.module
    found = [
        *((f"{module}/{name}", version) for name, version in health.reporting(module)),
        *((f"worker {name}", version) for name, version in liveness.running(module)),
    ]
    before, after = definition.version_from, definition.version_to
    return [name for name, version in found if versions.is_old(version, before=before, after=after)]


def checks(definition: Definition, *, account: str, asked: Sequence[Asked]) -> list[Found]:
    """Ask a definition's own checks but for those that are jobs, and return what each found."""
    ask: dict[Kind, Callable[[Check], Found]] = {
        Kind.SQL: lambda check: _sql(check, definition=definition, account=account, asked=asked),
        Kind.MODULE: lambda check: _module(check, definition=definition, account=account),
    }
    return [ask[check.kind](check) for check in definition.gates.checks if check.kind in ask]


def of_jobs(check: Check, *, outcomes: Mapping[str, str | None]) -> Found | None:
    """Judge a check that is a job for each target, by their outcomes; None while one of them is not over."""
    if any(outcome is None for outcome in outcomes.values()):
        return None
    failed = [key for key, outcome in outcomes.items() if outcome in {"failed", "timed_out"}]
    unknown = [key for key, outcome in outcomes.items() if outcome in {"cancelled", "rejected"}]
    return gates.check(check.name, failed=failed, unknown=unknown)


def _sql(check: Check, *, definition: Definition, account: str, asked: Sequence[Asked]) -> Found:
    failed, unknown = [], []
    for each in asked:
        try:
            with targets.connect(
                definition, account=account, tenant_id=each.tenant_id, target=each.key
            ) as connection, connection.transaction():  # fmt: skip
                connection.execute("SET TRANSACTION READ ONLY")
                connection.execute("SELECT set_config('statement_timeout', %s, true)", [f"{int(ANSWER_S * 1000)}ms"])
                row = connection.execute((check.text or "").encode()).fetchone()
            if row is None or row[0] is not True:
                failed.append(each.key)
        except (JobError, psycopg.Error):
            unknown.append(each.key)
    return gates.check(check.name, failed=failed, unknown=unknown)


def _module(check: Check, *, definition: Definition, account: str) -> Found:
    url = f"{(definition.targets.endpoint or '').rstrip('/')}{check.path}"
    try:
        with outbound.request(url, grant=surroundings.grant(tenant_id=account)) as response:
            well = response.status == HTTPStatus.OK
    except JobError:
        return gates.check(check.name, failed=[], unknown=[definition.module])
    return gates.check(check.name, failed=[] if well else [definition.module])


def _tenants(migration_id: UUID, number: int) -> list[str]:
    found = Target.objects.filter(migration_id=migration_id, wave=number).exclude(state=TargetState.SET_ASIDE)
    return sorted(set(found.values_list("tenant_id", flat=True)))
