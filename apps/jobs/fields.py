"""A job's body as submitted, and jobs as read, for parsing and for the OpenAPI document."""

from __future__ import annotations

from typing import Any

import orjson
from rest_framework import serializers

from apps.core.serializers import StrictSerializer
from apps.jobs import dependencies
from apps.jobs.dependencies import Rule
from apps.jobs.lifecycle import Priority, State
from apps.jobs.retry import MAX_ATTEMPTS, MOST_CODES

MAX_PARAMS_BYTES = 16 * 1024
MAX_TIMEOUT_S = 7 * 24 * 3600
MAX_BATCH = 1_000
TRIGGERS = ("user", "connector", "schedule", "event", "system")
DEFAULT_ENVIRONMENT = "default"


class RetryFields(StrictSerializer):
    """A job's own retry policy; what is left out is as its type says."""

    max_attempts = serializers.IntegerField(min_value=1, max_value=MAX_ATTEMPTS, required=False)
    backoff = serializers.ChoiceField(("exponential", "fixed", "none"), required=False)
    initial_s = serializers.FloatField(min_value=0, max_value=MAX_TIMEOUT_S, required=False)
    cap_s = serializers.FloatField(min_value=0, max_value=MAX_TIMEOUT_S, required=False)
    jitter = serializers.FloatField(min_value=0, max_value=1, required=False)
    non_retryable = serializers.ListField(
        child=serializers.RegexField(r"\A[a-z0-9_]{1,64}\Z"),
        max_length=MOST_CODES,
        required=False,
        help_text="error codes after which no further attempt is made",
    )


class DependsOnFields(StrictSerializer):
    """What a job waits for."""

    jobs = serializers.ListField(
        child=serializers.CharField(max_length=36),
        required=False,
        max_length=dependencies.MOST,
        help_text="ids of jobs of the same tenant",
    )
    batch = serializers.ListField(
        child=serializers.IntegerField(min_value=0, max_value=MAX_BATCH - 1),
        required=False,
        max_length=dependencies.MOST,
        help_text="in a batch: places, from 0, of jobs before this one in `jobs`",
    )
    rule = serializers.ChoiceField(
        [rule.value for rule in Rule],
        required=False,
        default=Rule.ALL_SUCCESS.value,
        help_text="of their outcomes; a job that was skipped (its own rule asked for a failure, and there was none) "
        "does no harm to none_failed",
    )


class SubmissionFields(StrictSerializer):
    """A job as submitted."""

    type = serializers.CharField(max_length=64, help_text="a job type of /operations/job-types")
    tenant_id = serializers.CharField(
        max_length=48, required=False, help_text="may be left out when the token names one"
    )
    params = serializers.DictField(
        required=False, default=dict, help_text="references and settings, at most 16 KiB, as the job type's schema says"
    )
    contract = serializers.CharField(
        max_length=120, required=False, allow_null=True, default=None, help_text="name@version"
    )
    priority = serializers.ChoiceField([each.word for each in Priority], required=False, default="normal")
    depends_on = DependsOnFields(
        required=False,
        allow_null=True,
        default=None,
        help_text="the job is blocked until the rule over these jobs' outcomes is decided; when it cannot come true "
        f"any more, the job is cancelled, upstream_failed. At most {dependencies.MOST} jobs",
    )
    run_at = serializers.DateTimeField(required=False, allow_null=True, default=None)
    timeout_s = serializers.IntegerField(
        min_value=1,
        max_value=MAX_TIMEOUT_S,
        required=False,
        allow_null=True,
        default=None,
        help_text="one attempt's time",
    )
    start_by_s = serializers.IntegerField(
        min_value=1,
        max_value=MAX_TIMEOUT_S,
        required=False,
        allow_null=True,
        default=None,
        help_text="not started within so many seconds of its submission: timed_out, start_by",
    )
    deadline_s = serializers.IntegerField(
        min_value=1,
        max_value=MAX_TIMEOUT_S,
        required=False,
        allow_null=True,
        default=None,
        help_text="not over within so many seconds of its submission, retries included: timed_out, deadline",
    )
    retry = RetryFields(required=False, allow_null=True, default=None)
    concurrency_key = serializers.CharField(
        max_length=128,
        required=False,
        allow_null=True,
        default=None,
        help_text="of jobs with the same key, one runs at a time",
    )
    environment = serializers.SlugField(max_length=48, required=False, default=DEFAULT_ENVIRONMENT)
    trigger = serializers.ChoiceField(TRIGGERS, required=False, default="user")

    def validate_params(self, value: dict[str, Any]) -> dict[str, Any]:
        """Refuse more than 16 KiB: params hold references and settings, never rows of data."""
        size = len(orjson.dumps(value))
        if size > MAX_PARAMS_BYTES:
            raise serializers.ValidationError(f"{size} bytes; at most {MAX_PARAMS_BYTES}: pass a URI, not the data")
        return value


class NothingFields(StrictSerializer):
    """A body that says nothing; it may be left out."""


class CancelFields(StrictSerializer):
    """Why a job is cancelled; the whole body may be left out."""

    reason = serializers.CharField(max_length=200, required=False, allow_null=True, default=None)


class PriorityFields(StrictSerializer):
    """The band a job is moved to."""

    priority = serializers.ChoiceField([each.word for each in Priority])


class BatchFields(StrictSerializer):
    """Many jobs as submitted; for the document: each is read by itself, so that a bad one spoils no other."""

    jobs = serializers.ListField(child=SubmissionFields(), min_length=1, max_length=MAX_BATCH)


class BatchResultFields(serializers.Serializer[Any]):
    """What came of a batch, in its order."""

    results = serializers.ListField(
        child=serializers.DictField(), help_text="each `{status: 202, job_id}`, or a problem with its `status`"
    )


class EvidenceFields(serializers.Serializer[Any]):
    """Where a job's evidence is."""

    state = serializers.CharField(allow_null=True)
    ref = serializers.CharField(allow_null=True)


class DecisionFields(serializers.Serializer[Any]):
    """What a decision point answered."""

    decision_id = serializers.UUIDField()
    allowed = serializers.BooleanField()
    reason_code = serializers.CharField()
    reason = serializers.CharField(allow_null=True)
    policy_revision = serializers.CharField()
    decided_at = serializers.DateTimeField()


class DecisionsFields(serializers.Serializer[Any]):
    """Both decision points' answers; null for one that was not asked."""

    governance = DecisionFields(allow_null=True)
    subscription = DecisionFields(allow_null=True)


class JobDependsOnFields(serializers.Serializer[Any]):
    """What a job waits for, or waited for."""

    jobs = serializers.ListField(child=serializers.UUIDField())
    rule = serializers.CharField()


class JobFields(serializers.Serializer[Any]):
    """A job as read."""

    job_id = serializers.UUIDField()
    tenant_id = serializers.CharField()
    type = serializers.CharField()
    status = serializers.ChoiceField([state.value for state in State])
    outcome = serializers.CharField(
        allow_null=True, help_text="how it ended; kept while the status reads pending_audit"
    )
    reason_code = serializers.CharField(allow_null=True)
    retries = serializers.IntegerField()
    attempt = serializers.IntegerField()
    max_attempts = serializers.IntegerField()
    submitted_at = serializers.DateTimeField()
    queued_at = serializers.DateTimeField(allow_null=True)
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    run_at = serializers.DateTimeField(allow_null=True)
    next_attempt_at = serializers.DateTimeField(allow_null=True)
    start_by = serializers.DateTimeField(allow_null=True, help_text="null once it has started")
    deadline_at = serializers.DateTimeField(allow_null=True)
    cancel_requested_at = serializers.DateTimeField(allow_null=True)
    cancel_requested_by = serializers.CharField(allow_null=True)
    cancel_reason = serializers.CharField(allow_null=True)
    priority = serializers.CharField()
    environment = serializers.CharField()
    region = serializers.CharField()
    contract = serializers.CharField(allow_null=True)
    trigger = serializers.CharField()
    submitted_by = serializers.CharField()
    params = serializers.DictField()
    timeout_s = serializers.IntegerField()
    start_by_s = serializers.IntegerField(allow_null=True)
    deadline_s = serializers.IntegerField(allow_null=True)
    heartbeat_s = serializers.FloatField(allow_null=True)
    retry = serializers.DictField(allow_null=True, help_text="its own policy; null: its type's")
    concurrency_key = serializers.CharField(allow_null=True)
    parent_id = serializers.UUIDField(allow_null=True, help_text="the plan it is a step of")
    step = serializers.CharField(allow_null=True, help_text="its name in that plan")
    depends_on = JobDependsOnFields(allow_null=True)
    progress = serializers.DictField(allow_null=True)
    result = serializers.DictField(allow_null=True)
    error = serializers.DictField(allow_null=True)
    evidence = EvidenceFields()
    decision = DecisionsFields()
    waiting_for = serializers.CharField(
        allow_null=True, help_text="broker_down: taken, and published when the broker is back"
    )
    links = serializers.DictField(help_text="self, timeline, logs; children of a plan, parent of a step")


class JobPageFields(serializers.Serializer[Any]):
    """A page of jobs, newest first; `next` is the cursor of the page that follows, null on the last."""

    items = JobFields(many=True)
    next = serializers.CharField(allow_null=True)


class TimelineFields(serializers.Serializer[Any]):
    """A job's story, oldest first."""

    job_id = serializers.UUIDField()
    items = serializers.ListField(child=serializers.DictField())


class AttemptLogFields(serializers.Serializer[Any]):
    """What an ended dispatch's log came to."""

    fence = serializers.IntegerField()
    lines = serializers.IntegerField()
    digest = serializers.CharField(
        allow_null=True, help_text="of its lines as docs/job-types.md says; null where nobody was left to say"
    )
    dropped = serializers.IntegerField(help_text="lines beyond what a log holds: counted, not kept")


class LogFields(serializers.Serializer[Any]):
    """A job's log lines after a position, oldest first; `next` is the position to ask after."""

    job_id = serializers.UUIDField()
    items = serializers.ListField(child=serializers.DictField())
    attempts = AttemptLogFields(many=True)
    next = serializers.CharField()
