"""Bodies of tickets, for parsing and for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.core.serializers import StrictSerializer
from apps.tickets.models import ISSUE_CHARS, KINDS, LINKS, SEVERITIES, SOURCES, STATES

TEXT_CHARS = 8000
PERSON = r"\A[A-Za-z0-9][A-Za-z0-9@._+-]{0,99}\Z"


def _person(help_text: str) -> serializers.RegexField:
    return serializers.RegexField(
        PERSON, max_length=100, required=False, allow_null=True, default=None, help_text=help_text
    )


def _team() -> serializers.SlugField:
    return serializers.SlugField(max_length=48, required=False, allow_null=True, default=None, help_text="a team")


class LinkAskedFields(StrictSerializer):
    """What else it is about."""

    kind = serializers.ChoiceField(LINKS)
    ref = serializers.CharField(max_length=128, help_text="its id")


class TicketAskedFields(StrictSerializer):
    """A ticket as it is opened."""

    tenant_id = serializers.CharField(
        max_length=48, required=False, help_text="left out by a platform module: the platform's own"
    )
    module = serializers.CharField(
        max_length=64, required=False, help_text="whose trouble it is; the calling module's, if left out"
    )
    issue = serializers.CharField(max_length=ISSUE_CHARS, help_text="what is wrong, in a line")
    description = serializers.CharField(max_length=TEXT_CHARS, required=False, default="", allow_blank=True)
    severity = serializers.ChoiceField(SEVERITIES, required=False, default="error")
    dedup_key = serializers.CharField(
        max_length=255,
        required=False,
        allow_null=True,
        default=None,
        help_text="one open ticket of the module a key: said again, it counts one more occurrence",
    )
    job_id = serializers.UUIDField(
        required=False, allow_null=True, default=None, help_text="a failed job: joins the ticket of its failure"
    )
    links = serializers.ListField(
        child=LinkAskedFields(), required=False, default=list, max_length=20, help_text="at most 20"
    )
    assignee = _person("a person's login name")
    team = _team()


class VersionFields(StrictSerializer):
    """A command."""

    version = serializers.IntegerField(min_value=1, max_value=2**31 - 1, help_text="the version that was read")


class AssignFields(VersionFields):
    """Whose it is from now on; neither: nobody's."""

    assignee = _person("a person's login name")
    team = _team()


class WaitFields(VersionFields):
    """What it waits for."""

    reason = serializers.CharField(max_length=500, required=False, default="", allow_blank=True)


class CommentFields(StrictSerializer):
    """What is said."""

    text = serializers.CharField(max_length=TEXT_CHARS, help_text="@name and @team:name are told")
    version = serializers.IntegerField(
        min_value=1, max_value=2**31 - 1, required=False, help_text="if named, the version that was read"
    )


class ResolveFields(VersionFields):
    """Why it is over."""

    resolution = serializers.CharField(max_length=2000, required=False, default="", allow_blank=True)


class ReopenFields(VersionFields):
    """Why it is not."""

    reason = serializers.CharField(max_length=500, required=False, default="", allow_blank=True)


class MergeFields(VersionFields):
    """Which ticket speaks for both."""

    into = serializers.UUIDField(
        allow_null=True, help_text="an open ticket of the same tenant; null: take it out again, as it was"
    )


class TicketFields(serializers.Serializer[Any]):
    """A ticket as read."""

    id = serializers.UUIDField()
    tenant_id = serializers.CharField(allow_null=True, help_text="null: the platform's own")
    module = serializers.CharField()
    issue = serializers.CharField()
    description = serializers.CharField()
    status = serializers.ChoiceField(STATES)
    severity = serializers.ChoiceField(SEVERITIES)
    version = serializers.IntegerField(help_text="what the next command must name")
    source = serializers.ChoiceField(SOURCES, help_text="what opened it")  # type: ignore[assignment]
    kind = serializers.CharField(help_text="a job's type, or the sort of thing that went wrong; may be empty")
    about = serializers.DictField(help_text="the failure's class, code and place: never the data")
    fingerprint = serializers.CharField(allow_null=True, help_text="alike for what is the same thing again")
    occurrences = serializers.IntegerField()
    last_seen_at = serializers.DateTimeField(help_text="the last occurrence")
    assignee = serializers.CharField(allow_null=True)
    team = serializers.CharField(allow_null=True)
    opened_at = serializers.DateTimeField()
    opened_by = serializers.CharField()
    resolved_at = serializers.DateTimeField(allow_null=True)
    closed_at = serializers.DateTimeField(allow_null=True)
    resolution = serializers.CharField(allow_null=True)
    merged_into = serializers.UUIDField(allow_null=True)
    storm = serializers.UUIDField(allow_null=True, help_text="the ticket of the storm that it belongs to")
    job_id = serializers.UUIDField(allow_null=True, help_text="the first job whose failure it was")
    last_job_id = serializers.UUIDField(allow_null=True)
    evidence = serializers.DictField(allow_null=True, help_text="the record of its resolution: state, ref")
    links = serializers.DictField(child=serializers.CharField())


class EntryFields(serializers.Serializer[Any]):
    """One line of a ticket's log."""

    at = serializers.DateTimeField()
    what = serializers.ChoiceField(KINDS)
    by = serializers.CharField(help_text="a module, a person, or `plane`: by itself")
    data = serializers.DictField()  # type: ignore[assignment]


class ClockFields(serializers.Serializer[Any]):
    """One cycle of one of its clocks, in seconds of working time."""

    goal = serializers.ChoiceField(["response", "resolution"])
    cycle = serializers.IntegerField(help_text="a reopened ticket begins another")
    goal_s = serializers.IntegerField()
    elapsed_s = serializers.FloatField()
    remaining_s = serializers.FloatField(help_text="negative once it is overdue")
    started_at = serializers.DateTimeField()
    stopped_at = serializers.DateTimeField(allow_null=True)
    paused = serializers.BooleanField()
    breached = serializers.BooleanField()
    breach_at = serializers.DateTimeField(allow_null=True, help_text="when it will be, or was, overdue, if it runs on")


class RefFields(serializers.Serializer[Any]):
    """Something else that it is about."""

    kind = serializers.ChoiceField(LINKS)
    ref = serializers.CharField()
    at = serializers.DateTimeField()


class ChangeFields(serializers.Serializer[Any]):
    """One thing that differs."""

    field = serializers.CharField()
    good = serializers.JSONField(allow_null=True, help_text="what is long, by its digest")
    bad = serializers.JSONField(allow_null=True)


class RunFields(serializers.Serializer[Any]):
    """A run that is compared."""

    job_id = serializers.UUIDField()
    finished_at = serializers.DateTimeField(allow_null=True)


class DiffFields(serializers.Serializer[Any]):
    """The first bad run against the last good one of the same type and tenant."""

    bad = RunFields()
    good = RunFields(allow_null=True, help_text="null: none was found to compare with")
    changes = ChangeFields(many=True)
    same = serializers.ListField(child=serializers.CharField(), help_text="the parts in which nothing differs")


class WholeTicketFields(TicketFields):
    """A ticket with its story."""

    log = EntryFields(many=True, help_text="oldest first; the last 500")
    sla = ClockFields(many=True)
    promise = serializers.CharField(allow_null=True, help_text="the SLA policy it was opened under")
    watchers = serializers.ListField(child=serializers.CharField())
    refs = RefFields(many=True)
    merged = serializers.ListField(child=serializers.UUIDField(), help_text="the tickets merged into it")
    in_storm = serializers.ListField(child=serializers.UUIDField(), help_text="of a storm: its tickets")
    successes = serializers.ListField(
        child=serializers.DictField(), help_text="runs of the job type that succeeded since: job_id, record_id, leaf"
    )
    diff = DiffFields(allow_null=True)


class TicketPageFields(serializers.Serializer[Any]):
    """A page of tickets, newest first."""

    items = TicketFields(many=True)
    next = serializers.CharField(allow_null=True)
