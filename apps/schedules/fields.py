"""Bodies of schedules and triggers, for parsing and for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.core.serializers import StrictSerializer
from apps.jobs.templates import TemplateFields
from apps.schedules.models import CATCH_UP, FIRE_STATES, OVERLAP

DAY_S = 86_400


class ScheduleChangeFields(StrictSerializer):
    """What may be said of a schedule."""

    name = serializers.CharField(max_length=100)
    cron = serializers.CharField(max_length=120, help_text="five fields, or @hourly @daily @weekly @monthly @yearly")
    time_zone = serializers.CharField(max_length=64, required=False, default="UTC", help_text="an IANA name")
    job = TemplateFields(help_text="the job it submits")
    catch_up = serializers.ChoiceField(
        CATCH_UP,
        required=False,
        default="last",
        help_text="of times missed by over 30 s: none, the newest, or all",
    )
    catch_up_window_s = serializers.IntegerField(
        min_value=60, max_value=7 * DAY_S, required=False, default=DAY_S, help_text="older ones are not caught up"
    )
    overlap = serializers.ChoiceField(
        OVERLAP, required=False, default="allow", help_text="while its job before is not over"
    )
    jitter_s = serializers.IntegerField(min_value=0, max_value=3600, required=False, default=0)
    starts_at = serializers.DateTimeField(required=False, allow_null=True, default=None)
    ends_at = serializers.DateTimeField(required=False, allow_null=True, default=None, help_text="not at or after")


class ScheduleAskedFields(ScheduleChangeFields):
    """A schedule as made."""

    tenant_id = serializers.CharField(max_length=48, required=False)


class SchedulePatchFields(ScheduleChangeFields):
    """A change of a schedule: what is left out stays."""

    version = serializers.IntegerField(min_value=1, help_text="the version that was read")


class ReasonFields(StrictSerializer):
    """Why a schedule is paused."""

    reason = serializers.CharField(max_length=200)


class RangeFields(StrictSerializer):
    """The range of a backfill."""

    start = serializers.DateTimeField(help_text="from this time on")
    end = serializers.DateTimeField(help_text="to before this one, which must have passed")


class BackfillFields(serializers.Serializer[Any]):
    """What a backfill came to."""

    times = serializers.IntegerField(help_text="fire times in the range")
    added = serializers.IntegerField(help_text="of these, those that had not been fired yet")


class ScheduleFields(serializers.Serializer[Any]):
    """A schedule as read."""

    schedule_id = serializers.UUIDField()
    tenant_id = serializers.CharField()
    name = serializers.CharField()
    cron = serializers.CharField()
    time_zone = serializers.CharField()
    job = serializers.DictField()
    catch_up = serializers.CharField()
    catch_up_window_s = serializers.IntegerField()
    overlap = serializers.CharField()
    jitter_s = serializers.IntegerField()
    starts_at = serializers.DateTimeField(allow_null=True)
    ends_at = serializers.DateTimeField(allow_null=True)
    owner = serializers.CharField()
    version = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    paused_at = serializers.DateTimeField(allow_null=True)
    paused_by = serializers.CharField(allow_null=True)
    pause_reason = serializers.CharField(allow_null=True)
    next_fires = serializers.ListField(child=serializers.DateTimeField(), help_text="its next five; none while paused")


class SchedulePageFields(serializers.Serializer[Any]):
    """A page of schedules, newest first."""

    items = ScheduleFields(many=True)
    next = serializers.CharField(allow_null=True)


class FireFields(serializers.Serializer[Any]):
    """A fire time and what it came to."""

    fire_at = serializers.DateTimeField()
    due_at = serializers.DateTimeField()
    backfill = serializers.BooleanField()
    state = serializers.ChoiceField(FIRE_STATES)
    reason_code = serializers.CharField(allow_null=True)
    job_id = serializers.UUIDField(allow_null=True)
    settled_at = serializers.DateTimeField(allow_null=True)


class FirePageFields(serializers.Serializer[Any]):
    """A page of fires, the latest fire time first."""

    items = FireFields(many=True)
    next = serializers.CharField(allow_null=True)


class TriggerChangeFields(StrictSerializer):
    """What may be said of a trigger."""

    name = serializers.CharField(max_length=100)
    event_type = serializers.CharField(max_length=64, help_text="a type, or a beginning like operations.job.*")
    conditions = serializers.DictField(
        required=False, default=dict, help_text="subject, data.… or job.… -> a value, or a list of values"
    )
    job = TemplateFields(help_text="the job it submits; params and concurrency_key may hold ${event.…}")
    enabled = serializers.BooleanField(required=False, default=True)


class TriggerAskedFields(TriggerChangeFields):
    """A trigger as made."""

    tenant_id = serializers.CharField(max_length=48, required=False)


class TriggerPatchFields(TriggerChangeFields):
    """A change of a trigger: what is left out stays."""

    version = serializers.IntegerField(min_value=1, help_text="the version that was read")


class TriggerFields(serializers.Serializer[Any]):
    """A trigger as read."""

    trigger_id = serializers.UUIDField()
    tenant_id = serializers.CharField()
    name = serializers.CharField()
    event_type = serializers.CharField()
    conditions = serializers.DictField()
    job = serializers.DictField()
    enabled = serializers.BooleanField()
    owner = serializers.CharField()
    version = serializers.IntegerField()
    created_at = serializers.DateTimeField()


class TriggerPageFields(serializers.Serializer[Any]):
    """A page of triggers, newest first."""

    items = TriggerFields(many=True)
    next = serializers.CharField(allow_null=True)


class FiringFields(serializers.Serializer[Any]):
    """An event that met a trigger, and what it came to."""

    firing_id = serializers.UUIDField()
    event_id = serializers.UUIDField()
    event_type = serializers.CharField()
    event_subject = serializers.CharField()
    depth = serializers.IntegerField(help_text="triggers in a row that led here; more than 8 are refused")
    state = serializers.ChoiceField(FIRE_STATES)
    reason_code = serializers.CharField(allow_null=True)
    job_id = serializers.UUIDField(allow_null=True)
    created_at = serializers.DateTimeField()


class FiringPageFields(serializers.Serializer[Any]):
    """A page of firings, newest first."""

    items = FiringFields(many=True)
    next = serializers.CharField(allow_null=True)
