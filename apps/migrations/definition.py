"""What a migration is, once its folder was read and found right: values only, no clock, no database, no file access.

A definition is known by (name, from, to) and never changes once it was used: its checksum says so. How its folder is
written: docs/migration-definitions.md; who reads it: `apps.migrations.registry`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

WhenFew = Literal["succeed", "inconclusive"]
# Steps of equal rights in a list, or {"by": "risk", "waves": 3}; validated by the registry, resolved by the planner.
Waves = Sequence[Mapping[str, Any]] | Mapping[str, Any]

PLAIN_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]{0,62}")
DEFAULT_WAVES: Waves = ({"count": 1}, {"percent": 10}, {"percent": 100})


class _Ordered(StrEnum):
    """Words that stand in an order: the one in which they are written here, not the alphabet's."""

    @property
    def rank(self) -> int:
        """Return the word's place among its kind, 0 for the first."""
        return list(type(self)).index(self)

    def __lt__(self, other: str) -> bool:
        return self.rank < type(self)(other).rank

    def __le__(self, other: str) -> bool:
        return self.rank <= type(self)(other).rank

    def __gt__(self, other: str) -> bool:
        return self.rank > type(self)(other).rank

    def __ge__(self, other: str) -> bool:
        return self.rank >= type(self)(other).rank


class Kind(StrEnum):
    """By what means a step does its work."""

    SQL = "sql"  # statements on the target's database
    PYTHON = "python"  # a function of the folder, given a connection to the target's database
    JOB = "job"  # any job type, submitted as a job of its own
    MODULE = "module"  # a call to the module's own endpoint
    DJANGO = "django"  # the module's Django migrations


class Phase(_Ordered):
    """Where in the change a step stands; phases never go back, and after `contract` nothing is reverted."""

    EXPAND = "expand"  # adds what the new version needs; the old one does not notice
    BACKFILL = "backfill"  # fills it
    VERIFY = "verify"  # says whether all is there
    CONTRACT = "contract"  # takes away what only the old version needed


class TargetKind(StrEnum):
    """What a campaign goes through, one by one."""

    TENANT = "tenant"
    MODULE = "module"
    ENVIRONMENT = "environment"


class Risk(_Ordered):
    """How much can go wrong; what it asks of approval: `apps.migrations.risk`."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class OnFailure(StrEnum):
    """What follows a failed gate or step before `contract`. (After it: a pause, and roll forward.)"""

    PAUSE = "pause"
    REVERT = "revert"  # every target that was touched
    REVERT_WAVE = "revert_wave"  # the wave under way, then a pause


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """How a backfill goes through a table: by key, `size` rows or keys at a time, resting after each.

    `table` and `key` are None for a Python step, which finds its own way. `rest`: how long to rest after a batch, as a
    multiple of the time that the batch took; 1.0 leaves the database half of its time.
    """

    table: str | None = None
    key: str | None = None
    size: int = 1000
    rest: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a definition, made of each target in turn.

    Of the fields that belong to one kind (`text` to sql, `function` to python, `job_type` and `params` to job, `path`
    to module, `settings`, `app` and `to` to django) the others are None or empty. `undoes` is False for
    `revert: nothing` and for every step of `contract`; `revert_said`: whether `revert` is written at all, as it must be
    before `contract`. `file`, `revert_file`, `line`: where the step is written.
    """

    name: str
    kind: Kind
    phase: Phase
    number: int
    checksum: str
    text: str | None = None
    revert_text: str | None = None
    function: str | None = None
    revert_function: str | None = None
    job_type: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    revert_job_type: str | None = None
    revert_params: Mapping[str, Any] = field(default_factory=dict)
    path: str | None = None
    revert_path: str | None = None
    settings: str | None = None
    app: str | None = None
    to: str | None = None
    revert_to: str | None = None
    undoes: bool = False
    revert_said: bool = True
    batch: Batch | None = None
    lock_timeout_s: float = 2.0
    statement_timeout_s: float = 30.0
    transaction: bool = True
    timeout_s: int = 3600
    file: str | None = None
    revert_file: str | None = None
    line: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A question that a gate asks: sql (one row, one boolean), job (succeeds) or module (answers 200)."""

    name: str
    kind: Kind
    text: str | None = None
    job_type: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    path: str | None = None
    file: str | None = None
    line: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureRate:
    """How much more of the module's jobs may fail than before the campaign.

    `above_baseline`: as a part of 1. `at_least`: ended jobs without which there is no verdict; `when_few`: the verdict
    then. `baseline_s`: seconds before the campaign that are the baseline.
    """

    above_baseline: float = 0.05
    at_least: int = 20
    baseline_s: int = 3600
    when_few: WhenFew = "succeed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """What must hold before the next wave. `bake_s`: seconds to wait first. `failure_rate`: None: not asked."""

    bake_s: int = 60
    health: bool = True
    failure_rate: FailureRate | None = None
    checks: Sequence[Check] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """When a step counts as stalled: its rate over `within_s` seconds is at most `min_rate` units a second."""

    within_s: int = 300
    min_rate: float = 0.0
    then: OnFailure = OnFailure.PAUSE


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """How a target's version is read, and how it is written (with the parameter `version`)."""

    read: str
    write: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What the campaign goes through, and how each is reached.

    `database`: a secret's name. `schema`: a template, see `schema_of`. `endpoint`: the module's own, for its steps and
    checks. `version`: None: the table `ops_schema_version` in the target's schema.
    """

    kind: TargetKind
    database: str | None = None
    schema: str | None = None
    endpoint: str | None = None
    version: Version | None = None

    def schema_of(self, target: str) -> str:
        """Return the schema of the target with this key; raise ValueError if that is no plain identifier.

        Plain: lower-case letters, digits and underscores, at most 63. So it needs no quotes, and can hide none.
        """
        schema = (self.schema or "").replace("{target}", target.replace("-", "_"))
        if not PLAIN_IDENTIFIER.fullmatch(schema):
            raise ValueError(f"target {target!r} has no schema: {schema!r} is no plain identifier of at most 63")
        return schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A migration from one version to the next. `checksum` is over every file of `folder`."""

    name: str
    module: str
    version_from: str
    version_to: str
    description: str
    risk: Risk
    targets: Targets
    parallel: int
    waves: Waves
    gates: Gates
    on_failure: OnFailure
    stall: Stall
    steps: Sequence[Step]
    checksum: str
    folder: Path

    @property
    def reference(self) -> str:
        """Return how people call it: 'crm 1.4→1.5'."""
        return f"{self.name} {self.version_from}→{self.version_to}"

    def step(self, name: str) -> Step:
        """Return the step of that name; raise LookupError."""
        for step in self.steps:
            if step.name == name:
                return step
        raise LookupError(f"{self.reference} has no step {name!r}")
