"""Jobs, where they run, what came of each dispatch, and the processes that lease them.

A job's row carries its one live lease (`fence`, `worker_id`, `dispatched_at`, `started_at`): two live leases cannot be
written down. What ended is kept beside it in `attempts`, one row a fence, inserted when the fence ends.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apps.core.database import ClockTimestamp
from apps.jobs.dependencies import Rule, Settled
from apps.jobs.lifecycle import HOLDING_SLOT, OUTCOMES, Ending, Priority, State
from apps.jobs.pool_models import Breaker, Environment, Pause, Process
from apps.jobs.scheduler_models import GateInterval, Leader, PoolLoad, RateBucket, StartPrediction
from apps.tenancy.context import TenantManager
from apps.tenancy.models import Tenant

# Django looks for an app's models here; the others stand by their subjects.
__all__ = [
    "Attempt",
    "Breaker",
    "Decision",
    "Dependency",
    "Environment",
    "GateInterval",
    "Job",
    "Leader",
    "LogChunk",
    "Pause",
    "PoolLoad",
    "Process",
    "RateBucket",
    "StartPrediction",
]

STATES = [(state.value, state.value) for state in State]
RULES = [(rule.value, rule.value) for rule in Rule]
OUTCOME_WORDS = sorted(state.value for state in OUTCOMES)
NOT_SUCCEEDED = sorted(state.value for state in OUTCOMES if state is not State.SUCCEEDED)
HAS_KEY = models.ExpressionWrapper(Q(concurrency_key__isnull=False), output_field=models.BooleanField())
HOLDING = sorted(state.value for state in HOLDING_SLOT)


class Job(models.Model):
    """One piece of governed work. Written only by `apps.jobs.operations`, by compare-and-set on state and fence."""

    job_id = models.UUIDField(primary_key=True)
    tenant = models.ForeignKey(Tenant, models.PROTECT, db_index=False)
    type = models.CharField(max_length=64)
    status = models.CharField(max_length=20, choices=STATES)
    outcome = models.CharField(max_length=20, null=True, choices=[(word, word) for word in OUTCOME_WORDS])
    reason_code = models.CharField(max_length=64, null=True)
    priority = models.SmallIntegerField(default=Priority.NORMAL, choices=[(p.value, p.word) for p in Priority])
    environment = models.ForeignKey(Environment, models.PROTECT, db_index=False)
    region = models.CharField(max_length=32)
    contract = models.CharField(max_length=120, null=True)
    contract_digest = models.CharField(max_length=71, null=True)
    params = models.JSONField(default=dict)
    params_digest = models.CharField(max_length=71)
    trigger = models.CharField(max_length=16, default="user")
    submitted_by = models.CharField(max_length=128, help_text="the calling module or person")
    concurrency_key = models.CharField(max_length=128, null=True)
    parent = models.ForeignKey("self", models.PROTECT, null=True, db_index=False)
    step = models.CharField(max_length=63, null=True, help_text="its name in its parent's plan")
    plan = models.JSONField(null=True, help_text="of a parent: the steps its children are made of, as compiled")
    depends_rule = models.CharField(max_length=16, null=True, choices=RULES, help_text="null = on nothing")
    watched = models.BooleanField(db_default=False, help_text="its end decides other jobs, and they were not told yet")
    timeout_s = models.PositiveIntegerField()
    max_attempts = models.PositiveSmallIntegerField()
    obligations = models.JSONField(default=dict, help_text="what the decisions oblige to: region, retention, redaction")

    retry = models.JSONField(null=True, help_text="the job's own retry policy, whole; null = its type's")
    start_by_s = models.PositiveIntegerField(null=True, help_text="seconds after submission to have started within")
    deadline_s = models.PositiveIntegerField(null=True, help_text="seconds after submission to be over within")
    heartbeat_s = models.FloatField(null=True, help_text="seconds an attempt may be silent")
    cancel_grace_s = models.FloatField(db_default=10, help_text="seconds from a cancel until the process is killed")

    attempt = models.PositiveSmallIntegerField(default=0, help_text="claimed attempts so far")
    retries = models.PositiveSmallIntegerField(default=0, help_text="attempts after the first")
    fence = models.BigIntegerField(default=0, help_text="grows with each dispatch; only its holder may write")
    worker_id = models.UUIDField(null=True)
    worker_pid = models.IntegerField(null=True)
    run_at = models.DateTimeField(null=True)
    due_at = models.DateTimeField(null=True, help_text="when a waiting job is looked at again")
    submitted_at = models.DateTimeField(db_default=ClockTimestamp())
    queued_at = models.DateTimeField(null=True)
    dispatched_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    start_by = models.DateTimeField(null=True, help_text="null once it has started")
    deadline_at = models.DateTimeField(null=True)
    heard_at = models.DateTimeField(null=True, help_text="the running attempt's last word")
    nudged_at = models.DateTimeField(null=True, help_text="when a callback last ended a wait for its module's answer")
    cancel_requested_at = models.DateTimeField(null=True)
    cancel_requested_by = models.CharField(max_length=128, null=True)
    cancel_reason = models.CharField(max_length=200, null=True)
    unclaimed = models.PositiveSmallIntegerField(default=0, help_text="dispatches in a row that nobody claimed")

    bundle_id = models.UUIDField(null=True, help_text="the dispatch that holds the slot: an id of its own each time")
    bundle_size = models.PositiveSmallIntegerField(
        db_default=1, help_text="jobs that were sent to a worker in one message"
    )
    alone = models.BooleanField(
        db_default=False, help_text="was in a bundle that was lost: travels by itself from then on"
    )

    progress = models.JSONField(null=True)
    result = models.JSONField(null=True, help_text="artifacts (URI, digest, counts) and metrics of the last attempt")
    error = models.JSONField(null=True, help_text="class, code, fingerprint, place: never the data")
    evidence_id = models.UUIDField(null=True, help_text="the outcome's evidence record")

    objects = TenantManager["Job"]()
    every = models.Manager["Job"]()

    class Meta:
        db_table = "jobs"
        ordering = ["-job_id"]
        base_manager_name = "every"
        constraints = [
            models.CheckConstraint(condition=Q(status__in=[state.value for state in State]), name="job_state_known"),
            models.CheckConstraint(
                condition=Q(outcome__isnull=True) | Q(outcome__in=OUTCOME_WORDS), name="job_outcome_known"
            ),
            models.CheckConstraint(
                condition=Q(outcome__isnull=True, finished_at__isnull=True)
                | Q(outcome__isnull=False, finished_at__isnull=False, evidence_id__isnull=False),
                name="job_end_is_whole",
            ),
            # Said for each kind of state: a comparison with a missing outcome is neither true nor false, and a check
            # takes that for consent.
            models.CheckConstraint(
                condition=Q(status__in=OUTCOME_WORDS, outcome__isnull=False, status=models.F("outcome"))
                | Q(status=State.PENDING_AUDIT.value, outcome__isnull=False)
                | (~Q(status__in=[*OUTCOME_WORDS, State.PENDING_AUDIT.value]) & Q(outcome__isnull=True)),
                name="job_status_fits_outcome",
            ),
            models.CheckConstraint(
                condition=~Q(status="running") | Q(worker_id__isnull=False), name="job_running_is_leased"
            ),
        ]
        indexes = [
            models.Index(fields=["tenant", "-job_id"], name="jobs_tenant_newest"),
            models.Index(
                "environment",
                "tenant",
                "type",
                "priority",
                HAS_KEY,
                "queued_at",
                "job_id",
                name="jobs_lanes",
                include=["concurrency_key", "alone"],  # all a look asks of a job: it reads no rows
                condition=Q(status="queued"),
            ),
            models.Index(
                fields=["environment", "tenant", "type", "concurrency_key", "priority", "queued_at", "job_id"],
                name="jobs_lane_keys",
                condition=Q(status="queued", concurrency_key__isnull=False),
            ),
            models.Index(fields=["environment", "tenant"], name="jobs_holding_slot", condition=Q(status__in=HOLDING)),
            models.Index(fields=["due_at"], name="jobs_due", condition=Q(status__in=["scheduled", "retrying"])),
            models.Index(fields=["tenant", "submitted_at"], name="jobs_tenant_day"),
            models.Index(
                fields=["start_by"], name="jobs_start_by", condition=Q(outcome__isnull=True, start_by__isnull=False)
            ),
            models.Index(
                fields=["deadline_at"],
                name="jobs_deadline",
                condition=Q(outcome__isnull=True, deadline_at__isnull=False),
            ),
            # An outage's jobs, in the order of their release; empty at all other times.
            models.Index(
                fields=["priority", "submitted_at", "job_id"], name="jobs_deferred", condition=Q(status="deferred")
            ),
            # For the history's filters: each holds few of the jobs, so that running costs the others nothing.
            models.Index(
                fields=["tenant", "outcome", "-job_id"],
                name="jobs_not_succeeded",
                condition=Q(outcome__in=NOT_SUCCEEDED),
            ),
            models.Index(
                fields=["tenant", "concurrency_key", "-job_id"],
                name="jobs_by_key",
                condition=Q(concurrency_key__isnull=False),
            ),
            models.Index(fields=["parent", "-job_id"], name="jobs_children", condition=Q(parent__isnull=False)),
            models.Index(fields=["job_id"], name="jobs_news", condition=Q(watched=True, outcome__isnull=False)),
            models.Index(fields=["tenant"], name="jobs_blocked", condition=Q(status="blocked")),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.job_id}"


class Dependency(models.Model):
    """A job waits for another to end; `settled` is what that end means to the rule, once the scheduler saw it."""

    tenant = models.ForeignKey(Tenant, models.PROTECT, db_index=False)
    job = models.ForeignKey(Job, models.PROTECT, db_index=False, related_name="+", help_text="the one that waits")
    upstream = models.ForeignKey(Job, models.PROTECT, db_index=False, related_name="+")
    place = models.PositiveSmallIntegerField(help_text="its place among the job's dependencies, as submitted")
    settled = models.CharField(max_length=16, null=True, choices=[(each.value, each.value) for each in Settled])

    objects = TenantManager["Dependency"]()
    every = models.Manager["Dependency"]()

    class Meta:
        db_table = "job_dependencies"
        ordering = ["job_id", "place"]
        base_manager_name = "every"
        constraints = [
            models.UniqueConstraint(fields=["job", "upstream"], name="dependency_once"),
            models.CheckConstraint(condition=~Q(job=models.F("upstream")), name="dependency_on_another"),
        ]
        indexes = [models.Index(fields=["upstream"], name="dependencies_of_upstream")]

    def __str__(self) -> str:
        return f"{self.job_id} after {self.upstream_id}"


class Attempt(models.Model):
    """What one dispatch of a job came to: inserted once, when its fence ends."""

    job_id = models.UUIDField()
    fence = models.BigIntegerField()
    tenant = models.ForeignKey(Tenant, models.PROTECT, db_index=False)
    number = models.PositiveSmallIntegerField(help_text="1-based; 0 = never claimed")
    ending = models.CharField(max_length=16, choices=[(ending.value, ending.value) for ending in Ending])
    worker_id = models.UUIDField(null=True)
    worker_pid = models.IntegerField(null=True)
    dispatched_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(db_default=ClockTimestamp())
    retry_at = models.DateTimeField(null=True)
    error = models.JSONField(null=True)
    result = models.JSONField(null=True)
    noticed_by = models.CharField(
        max_length=16,
        null=True,
        help_text="who saw the end: worker (itself), parent (of its processes), sweeper, scheduler",
    )
    forced = models.BooleanField(
        db_default=False, help_text="ended over the head of its process, which its worker kills if it still runs"
    )
    log_lines = models.PositiveIntegerField(default=0)
    log_digest = models.CharField(max_length=71, null=True)
    late_ending = models.CharField(
        max_length=16, null=True, help_text="what its holder reported after it was fenced off"
    )
    late_at = models.DateTimeField(null=True)

    objects = TenantManager["Attempt"]()
    every = models.Manager["Attempt"]()

    class Meta:
        db_table = "attempts"
        ordering = ["-id"]
        base_manager_name = "every"
        indexes = [models.Index(fields=["finished_at"], name="attempts_finished")]
        constraints = [
            models.UniqueConstraint(fields=["job_id", "fence"], name="attempt_fence_once"),
            models.UniqueConstraint(fields=["job_id"], name="attempt_success_once", condition=Q(ending="succeeded")),
        ]

    def __str__(self) -> str:
        return f"{self.ending} (fence {self.fence})"


class Decision(models.Model):
    """What a decision point answered about a job, kept with its revision so that it can be asked again.

    A row a job: jobs of one batch that ask the same question share one decision, by its point's own id.
    """

    decision_id = models.UUIDField()
    tenant = models.ForeignKey(Tenant, models.PROTECT, db_index=False)
    job_id = models.UUIDField()
    point = models.CharField(max_length=16, choices=[("governance", "governance"), ("subscription", "subscription")])
    action = models.CharField(max_length=32)
    allowed = models.BooleanField()
    reason_code = models.CharField(max_length=64)
    reason = models.CharField(max_length=500, default="")
    policy_revision = models.CharField(max_length=100)
    context = models.JSONField(default=dict, help_text="limits, obligations, max_age_s, stale_if_error_s as answered")
    decided_at = models.DateTimeField(db_default=ClockTimestamp())

    objects = TenantManager["Decision"]()
    every = models.Manager["Decision"]()

    class Meta:
        db_table = "decisions"
        ordering = ["-decision_id"]
        base_manager_name = "every"
        constraints = [models.UniqueConstraint(fields=["job_id", "decision_id"], name="decision_of_job_once")]

    def __str__(self) -> str:
        return f"{self.point}: {self.reason_code}"


class LogChunk(models.Model):
    """A batch of a dispatch's log lines, in order; `lines` holds [at, level, message, fields] each."""

    tenant = models.ForeignKey(Tenant, models.PROTECT, db_index=False)
    job_id = models.UUIDField()
    fence = models.BigIntegerField()
    first_line = models.PositiveIntegerField()
    lines = models.JSONField()
    written_at = models.DateTimeField(db_default=ClockTimestamp())

    objects = TenantManager["LogChunk"]()
    every = models.Manager["LogChunk"]()

    class Meta:
        db_table = "log_chunks"
        ordering = ["id"]
        base_manager_name = "every"
        constraints = [models.UniqueConstraint(fields=["job_id", "fence", "first_line"], name="log_chunk_once")]

    def __str__(self) -> str:
        return f"lines from {self.first_line}"
