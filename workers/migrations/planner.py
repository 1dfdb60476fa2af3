"""A plan: what a migration would do to whom, in which waves, for how long, at which risk. Nothing is changed by it.

Every target is asked what it is, and set aside where it is not what the migration was written for. What remains goes
into waves. A copy of the most typical one is migrated and brought back; what that showed is foretold for the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final

import psycopg
import structlog

from apps.core.digests import digest_of
from apps.jobs.types import JobError
from apps.migrations import drift, lint, risk, waves
from apps.migrations.definition import Definition, Risk
from apps.migrations.drift import Found, Judgement, SetAside
from apps.migrations.waves import Candidate
from workers.migrations import forecast, reading, rehearsal, scratch, target
from workers.migrations.forecast import Forecast
from workers.migrations.plan_document import Parts, document, risen

READERS: Final = 8
# Others are tried where a target is only busy just now.
_REHEARSALS: Final = 3
_PASSING: Final = frozenset({"target_busy", "connection_lost", "unreachable"})

Session = psycopg.Connection[Any]

log = structlog.stdlib.get_logger(__name__)


class PlanRefusedError(Exception):
    """There is no plan to be made of this; says why in a sentence, a stable word, and facts for a program."""

    def __init__(self, message: str, *, code: str, facts: Mapping[str, Any]) -> None:
        """Take the sentence, the word and the facts."""
        super().__init__(message)
        self.code = code
        self.facts = facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a plan is asked for.

    `account`: the tenant in whose name it runs, whose secrets are asked where a target's tenant has none. `targets`:
    key → the tenant whose it is. `waves`: in place of the definition's, or None. `baseline`: targets that say no
    version count as being at the one the migration starts from. `internal`: tenants that are ours, and go first.
    `recorded`: key → the version that was last known, of targets that have no database to be asked.
    """

    definition: Definition
    account: str
    targets: Mapping[str, str]
    waves: Sequence[Mapping[str, Any]] | Mapping[str, Any] | None = None
    baseline: bool = False
    drill: bool = False
    internal: frozenset[str] = frozenset()
    recorded: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A target in a wave, as it was when it was read."""

    key: str
    tenant_id: str
    version: str | None
    digest: str | None
    size_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be agreed to. `document`: all of it as JSON; `checksum`: of what it would do, not of how long."""

    document: Mapping[str, Any]
    checksum: str
    risk: Risk
    approvals: int
    waves: Sequence[Sequence[Planned]]
    set_aside: Sequence[SetAside]


def make(asked: Asked) -> Plan:
    """Return the plan; raises PlanRefusedError.

    It takes as long as reading all targets, eight at once, and a rehearsal of at most `rehearsal.LONGEST_S`. What of
    the targets is away or in the way is in the plan, never raised.
    """
    definition = asked.definition
    findings = _linted(definition)
    spec = _waves(asked)
    judged = drift.judge(
        _read(asked), version_from=definition.version_from, version_to=definition.version_to, baseline=asked.baseline
    )
    divided = waves.divide(_candidates(judged, internal=asked.internal), spec=spec)
    foretold = _foretell(asked, divided.waves)
    assessed = risen(risk.assess(definition), foretold)
    by_key = {each.key: each for each in judged.fit}
    planned = [[_planned(by_key[candidate.key]) for candidate in wave] for wave in divided.waves]
    checksum = _checksum(asked, planned=planned, set_aside=judged.set_aside)
    approvals = risk.approvals_needed(assessed.risk)
    parts = Parts(
        definition=definition,
        drill=asked.drill,
        waves=[[each.key for each in wave] for wave in planned],
        judged=judged,
        missing=divided.missing,
        findings=findings,
        forecast=foretold,
        risk=assessed.risk,
        risk_reasons=assessed.reasons,
        approvals=approvals,
    )
    return Plan(
        document=document(parts),
        checksum=checksum,
        risk=assessed.risk,
        approvals=approvals,
        waves=planned,
        set_aside=judged.set_aside,
    )


def _linted(definition: Definition) -> list[lint.Finding]:
    findings = lint.lint(definition)
    if errors := lint.errors(findings):
        raise PlanRefusedError(
            f"{definition.reference} has {len(errors)} errors, the first: {errors[0].message}",
            code="lint_errors",
            facts={"findings": [finding.document() for finding in errors]},
        )
    return findings


def _waves(asked: Asked) -> Sequence[Mapping[str, Any]] | Mapping[str, Any]:
    spec = asked.definition.waves if asked.waves is None else asked.waves
    if problems := waves.problems(spec):
        pointer, right = problems[0]
        raise PlanRefusedError(
            f"waves{pointer.replace('/', '.')} {right}",
            code="bad_waves",
            facts={"errors": [{"field": f"waves{at.replace('/', '.')}", "message": what} for at, what in problems]},
        )
    return spec


def _read(asked: Asked) -> list[Found]:
    """Return what each target said of itself, a few asked at once; who is not reached says so."""
    if asked.definition.targets.database is None:
        return [
            Found(key=key, tenant_id=tenant, version=asked.recorded.get(key)) for key, tenant in asked.targets.items()
        ]

    broom = _Broom(asked)
    # Most have one schema, and a thousand copies of its names would be many.
    schemas: dict[str | None, Mapping[str, str] | None] = {}

    def one(item: tuple[str, str]) -> Found:
        key, tenant = item
        read = reading.read(asked.definition, account=asked.account, tenant_id=tenant, target=key)
        if read.problem is None:
            broom.sweep(key, tenant_id=tenant)
        return Found(
            key=key,
            tenant_id=tenant,
            version=read.version,
            digest=read.digest,
            objects=schemas.setdefault(read.digest, read.objects),
            size_bytes=read.size_bytes,
            problem=read.problem,
            why=read.why,
        )

    with ThreadPoolExecutor(max_workers=READERS, thread_name_prefix="plan-reading") as pool:
        return list(pool.map(one, sorted(asked.targets.items())))


class _Broom:
    """Clears away what killed planners left, once a database; where that is not possible now, a later plan does it."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._swept: set[str] = set()
        self._lock = Lock()

    def sweep(self, key: str, *, tenant_id: str) -> None:
        """Sweep the database of a target, unless that was done."""
        definition, account = self._asked.definition, self._asked.account
        try:
            dsn = target.dsn_of(definition, account=account, tenant_id=tenant_id)
            with self._lock:
                if dsn in self._swept:
                    return
                self._swept.add(dsn)
            with target.connect(definition, account=account, tenant_id=tenant_id, target=key) as session:
                scratch.sweep(session)
        except (JobError, psycopg.Error) as error:
            log.warning("scratch_schemas_not_swept", error=type(error).__name__)


def _candidates(judged: Judgement, *, internal: frozenset[str]) -> list[Candidate]:
    alike = drift.likeness(judged.fit)
    return [
        Candidate(
            key=each.key,
            tenant_id=each.tenant_id,
            size_bytes=each.size_bytes,
            internal=each.tenant_id in internal,
            alike=alike[each.key],
        )
        for each in judged.fit
    ]


def _foretell(asked: Asked, divided: Sequence[Sequence[Candidate]]) -> Forecast | None:
    """Return what a rehearsal on a typical target says of all; None where there is none to be had."""
    if asked.definition.targets.database is None:
        return None
    found = None
    for chosen in typical([each for wave in divided for each in wave])[:_REHEARSALS]:
        tried = _rehearse(asked, chosen)
        found = forecast.Forecast(
            definition=asked.definition, rehearsal=tried, size_bytes=chosen.size_bytes, waves=divided
        )
        if tried.trouble is None or tried.trouble.code not in _PASSING:
            break
    return found


def typical(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates, those first that speak for most: of the usual shape, and the middle size or a bit less.

    A copy takes only so many rows, so a large target costs no more; but a tiny one says little of a row's cost.
    """
    by_size = sorted(candidates, key=lambda each: (-each.alike, each.size_bytes or 0, each.key))
    usual = [each for each in by_size if each.alike == by_size[0].alike]
    middle = (len(usual) - 1) // 2
    return sorted(by_size, key=lambda each: (each not in usual, abs(by_size.index(each) - middle)))


def _rehearse(asked: Asked, chosen: Candidate) -> rehearsal.Rehearsal:
    definition = asked.definition

    def connect() -> AbstractContextManager[Session]:
        return target.connect(definition, account=asked.account, tenant_id=chosen.tenant_id, target=chosen.key)

    schema = target.schema_of(definition, target=chosen.key)
    return rehearsal.rehearse(definition, connect=connect, schema=schema)


def _planned(found: Found) -> Planned:
    return Planned(
        key=found.key,
        tenant_id=found.tenant_id,
        version=found.version,
        digest=found.digest,
        size_bytes=found.size_bytes,
    )


def _checksum(asked: Asked, *, planned: Sequence[Sequence[Planned]], set_aside: Sequence[SetAside]) -> str:
    """Return the digest of what the plan would do: who approves agrees to that, and to nothing that comes to differ."""
    return digest_of(
        {
            "definition": asked.definition.checksum,
            "drill": asked.drill,
            "waves": [sorted([each.key, each.version, each.digest] for each in wave) for wave in planned],
            "set_aside": sorted([each.key, each.reason.value] for each in set_aside),
            "steps": [[step.name, step.checksum] for step in asked.definition.steps],
        }
    )
