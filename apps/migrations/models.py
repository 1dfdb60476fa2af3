"""Migrations with their waves, targets and steps. Written only by `apps.migrations.operations`.

A migration's tenant is the one on whose account it runs: its evidence log keeps the campaign's records, and it may read
and control it. A target's and a step's tenant is whose data it is; each tenant sees its own.
"""

from __future__ import annotations

from enum import StrEnum

from django.db import models
from django.db.models import Q

from apps.core.database import ClockTimestamp
from apps.migrations.definition import Kind, Phase, Risk, TargetKind
from apps.migrations.lifecycle import Drill, Stage, State, StepState, TargetState, WaveState
from apps.tenancy.context import TenantManager
from apps.tenancy.models import Tenant

STATES = [state.value for state in State]
TARGET_STATES = [state.value for state in TargetState]
STEP_STATES = [state.value for state in StepState]
WAVE_STATES = [state.value for state in WaveState]
DIRECTIONS = ("up", "down")
ORDERS = ("go_on", "pass_wave", "retry")
VERDICTS = ("succeed", "fail", "inconclusive")


def _words(words: list[str] | tuple[str, ...] | type[StrEnum]) -> list[tuple[str, str]]:
    return [(str(word), str(word)) for word in words]


class Migration(models.Model):
    """A campaign. `version` grows with every transition; `progress` is from 0 to 1."""

    id = models.UUIDField(primary_key=True)
    tenant = models.ForeignKey(Tenant, models.PROTECT, db_index=False, help_text="on whose account it runs")
    name = models.CharField(max_length=64, help_text="the definition's")
    module = models.CharField(max_length=64)
    version_from = models.CharField(max_length=64)
    version_to = models.CharField(max_length=64)
    description = models.CharField(max_length=500, default="")
    definition_checksum = models.CharField(max_length=80)
    status = models.CharField(max_length=20, choices=_words(STATES), default=State.DRAFT.value)
    reason_code = models.CharField(max_length=64, null=True, help_text="why it stands where it stands")
    reason = models.CharField(max_length=500, null=True)
    version = models.PositiveIntegerField(default=1)
    progress = models.FloatField(default=0)
    evidence_ref = models.UUIDField(null=True, help_text="the record of its last transition")
    asked = models.JSONField(default=dict, help_text="targets, waves, baseline and the expected plan, as requested")
    order = models.CharField(
        max_length=24,
        null=True,
        choices=_words(ORDERS),
        help_text="what a person asked of its waves, to be carried out",
    )
    dry_run = models.BooleanField(default=False)
    drill = models.BooleanField(default=False)
    plan = models.JSONField(null=True)
    plan_checksum = models.CharField(max_length=80, null=True)
    planning_tries = models.PositiveIntegerField(default=0, help_text="plans begun: a killed planner begins again")
    risk = models.CharField(max_length=8, choices=_words(Risk), null=True)
    approvals_needed = models.PositiveSmallIntegerField(default=0)
    stage = models.CharField(max_length=8, choices=_words(Stage), default=Stage.FORWARD.value)
    wave = models.PositiveIntegerField(null=True, help_text="the one under way, or the last that was")
    reverting_wave = models.PositiveIntegerField(null=True, help_text="the only one that goes back; empty = all")
    contract_begun_at = models.DateTimeField(null=True)
    requested_by = models.CharField(max_length=128)
    requested_at = models.DateTimeField(db_default=ClockTimestamp())
    planned_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    stopped_at = models.DateTimeField(null=True, help_text="paused or inconclusive since")
    stopped_s = models.FloatField(default=0, help_text="seconds it was paused or inconclusive before")
    finished_at = models.DateTimeField(null=True)

    objects = TenantManager["Migration"]()
    every = models.Manager["Migration"]()

    class Meta:
        db_table = "migrations"
        ordering = ["-id"]
        base_manager_name = "every"
        permissions = [("approve_migration", "Can approve a migration's plan")]
        constraints = [
            models.CheckConstraint(condition=Q(status__in=STATES), name="migration_state_known"),
            models.CheckConstraint(condition=Q(progress__gte=0, progress__lte=1), name="migration_progress_a_part"),
            models.CheckConstraint(
                condition=Q(status__in=["draft", "failed", "aborting"]) | Q(plan__isnull=False),
                name="migration_runs_by_its_plan",
            ),
        ]
        indexes = [
            models.Index(fields=["tenant", "-id"], name="migrations_tenant_newest"),
            models.Index(
                fields=["id"],
                name="migrations_unfinished",
                condition=~Q(status__in=["reverted", "succeeded", "failed"]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.version_from} → {self.version_to}"


class Approval(models.Model):
    """That a signed-in person agrees to a plan; another one, or another plan, needs another."""

    approval_id = models.UUIDField(primary_key=True)
    migration = models.ForeignKey(Migration, models.PROTECT, db_index=False, related_name="approvals")
    tenant = models.ForeignKey(Tenant, models.PROTECT, db_index=False)
    approver = models.CharField(max_length=128)
    plan_checksum = models.CharField(max_length=80)
    note = models.CharField(max_length=500, default="", blank=True)
    at = models.DateTimeField(db_default=ClockTimestamp())

    objects = TenantManager["Approval"]()
    every = models.Manager["Approval"]()

    class Meta:
        db_table = "migration_approvals"
        ordering = ["at"]
        base_manager_name = "every"
        constraints = [
            models.UniqueConstraint(fields=["migration", "plan_checksum", "approver"], name="migration_approved_once")
        ]

    def __str__(self) -> str:
        return f"{self.approver} at {self.at}"


class Wave(models.Model):
    """Targets that go together, and what its gates said. `facts` holds their figures and the jobs they asked for."""

    migration = models.ForeignKey(Migration, models.PROTECT, db_index=False, related_name="waves")
    tenant = models.ForeignKey(Tenant, models.PROTECT, db_index=False)
    number = models.PositiveIntegerField()
    state = models.CharField(max_length=12, choices=_words(WAVE_STATES), default=WaveState.WAITING.value)
    drill = models.CharField(max_length=8, choices=_words(Drill), default=Drill.NONE.value)
    verdict = models.CharField(max_length=12, choices=_words(VERDICTS), null=True)
    facts = models.JSONField(default=dict)
    started_at = models.DateTimeField(null=True)
    baking_since = models.DateTimeField(null=True)
    held_since = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    objects = TenantManager["Wave"]()
    every = models.Manager["Wave"]()

    class Meta:
        db_table = "migration_waves"
        ordering = ["number"]
        base_manager_name = "every"
        constraints = [
            models.UniqueConstraint(fields=["migration", "number"], name="migration_wave_once"),
            models.CheckConstraint(condition=Q(state__in=WAVE_STATES), name="migration_wave_state_known"),
        ]

    def __str__(self) -> str:
        return f"wave {self.number}"


class Target(models.Model):
    """What is migrated. `holds` while its migration is under way: one migration a target at a time."""

    target_id = models.UUIDField(primary_key=True)
    migration = models.ForeignKey(Migration, models.PROTECT, db_index=False, related_name="targets")
    tenant = models.ForeignKey(Tenant, models.PROTECT, db_index=False)
    module = models.CharField(max_length=64)
    kind = models.CharField(max_length=12, choices=_words(TargetKind))
    key = models.CharField(max_length=64, help_text="the tenant, module or environment")
    wave = models.PositiveIntegerField(null=True, help_text="empty = set aside")
    position = models.PositiveIntegerField(default=0)
    state = models.CharField(max_length=16, choices=_words(TARGET_STATES), default=TargetState.WAITING.value)
    reason_code = models.CharField(max_length=64, null=True)
    reason = models.CharField(max_length=500, null=True)
    differs = models.JSONField(default=list, help_text="the objects that are not as in the others' schemas")
    holds = models.BooleanField(default=False)
    version_before = models.CharField(max_length=64, null=True)
    version_after = models.CharField(max_length=64, null=True, help_text="as read back")
    digest_before = models.CharField(max_length=80, null=True)
    digest_after = models.CharField(max_length=80, null=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    objects = TenantManager["Target"]()
    every = models.Manager["Target"]()

    class Meta:
        db_table = "migration_targets"
        ordering = ["wave", "position"]
        base_manager_name = "every"
        constraints = [
            models.UniqueConstraint(fields=["migration", "key"], name="migration_target_once"),
            models.UniqueConstraint(
                fields=["module", "kind", "key"], condition=Q(holds=True), name="migration_target_held_once"
            ),
            models.CheckConstraint(condition=Q(state__in=TARGET_STATES), name="migration_target_state_known"),
        ]
        indexes = [
            models.Index(fields=["migration", "wave", "position"], name="migration_targets_in_order"),
            models.Index(fields=["tenant", "-target_id"], name="migration_targets_tenant"),
        ]

    def __str__(self) -> str:
        return self.key


class Step(models.Model):
    """A step at a target. `run` counts the jobs made for it; an older one's words about the target count no more."""

    step_id = models.UUIDField(primary_key=True)
    migration = models.ForeignKey(Migration, models.PROTECT, db_index=False, related_name="steps")
    target = models.ForeignKey(Target, models.PROTECT, db_index=False, related_name="steps")
    tenant = models.ForeignKey(Tenant, models.PROTECT, db_index=False)
    number = models.PositiveIntegerField()
    name = models.CharField(max_length=64)
    phase = models.CharField(max_length=8, choices=_words(Phase))
    kind = models.CharField(max_length=8, choices=_words(Kind))
    checksum = models.CharField(max_length=80)
    undoes = models.BooleanField(default=True, help_text="there is something to take back")
    state = models.CharField(max_length=8, choices=_words(STEP_STATES), default=StepState.PENDING.value)
    direction = models.CharField(max_length=4, choices=_words(DIRECTIONS), default="up")
    run = models.PositiveIntegerField(default=0)
    job_id = models.UUIDField(null=True, help_text="the newest one")
    not_before = models.DateTimeField(null=True, help_text="a limit refused its job until then")
    cursor = models.CharField(max_length=200, null=True, help_text="how far a backfill came, in its own key")
    done = models.BigIntegerField(null=True)
    total = models.BigIntegerField(null=True)
    mark_at = models.DateTimeField(null=True, help_text="when it last came as far as its rate has to bring it")
    mark_done = models.BigIntegerField(default=0)
    error_code = models.CharField(max_length=64, null=True)
    error = models.CharField(max_length=500, null=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    objects = TenantManager["Step"]()
    every = models.Manager["Step"]()

    class Meta:
        db_table = "migration_steps"
        ordering = ["number"]
        base_manager_name = "every"
        constraints = [
            models.UniqueConstraint(fields=["target", "number"], name="migration_step_once"),
            models.CheckConstraint(condition=Q(state__in=STEP_STATES), name="migration_step_state_known"),
            models.CheckConstraint(condition=Q(direction__in=DIRECTIONS), name="migration_step_direction_known"),
        ]
        indexes = [
            models.Index(fields=["migration", "state"], name="migration_steps_of"),
            models.Index(fields=["job_id"], name="migration_steps_job", condition=Q(job_id__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.number} {self.name}"
