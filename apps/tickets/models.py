"""Tickets, their append-only log, and whom and what each concerns. Written only by `apps.tickets.operations`."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apps.core.database import ClockTimestamp
from apps.tenancy.context import TenantManager
from apps.tenancy.models import Tenant
from apps.tickets.desk_models import BusinessCalendar, EscalationChain, SlaPolicy, Team
from apps.tickets.entries import Kind
from apps.tickets.lifecycle import OPEN_STATES, Severity, State

# Django looks for an app's models here; those that people configure stand by themselves.
__all__ = ["BusinessCalendar", "Entry", "EscalationChain", "Link", "SlaPolicy", "Team", "Ticket", "Watcher"]

STATES = [state.value for state in State]
OPEN = sorted(state.value for state in OPEN_STATES)
SEVERITIES = [severity.value for severity in Severity]
KINDS = [kind.value for kind in Kind]
SOURCES = ("person", "module", "job", "recovery", "alert", "migration", "storm")
LINKS = ("tenant", "module", "job", "notification", "evidence", "event", "migration", "component")
ISSUE_CHARS = 300


def _words(words: list[str] | tuple[str, ...]) -> list[tuple[str, str]]:
    return [(word, word) for word in words]


class Ticket(models.Model):
    """Work owed to somebody. `version` grows with every command; what it says beside its log, the log says too."""

    id = models.UUIDField(primary_key=True)
    tenant = models.ForeignKey(
        Tenant, models.PROTECT, null=True, db_index=False, help_text="empty = the platform's own"
    )
    module = models.CharField(max_length=64)
    issue = models.CharField(max_length=ISSUE_CHARS, help_text="what is wrong, in a line")
    description = models.TextField(default="", blank=True)
    about = models.JSONField(default=dict, help_text="the failure's class, code and place: never the data")
    source = models.CharField(max_length=16, choices=_words(SOURCES))
    kind = models.CharField(max_length=64, default="", help_text="a job's type, or the sort of thing that went wrong")
    status = models.CharField(max_length=16, choices=_words(STATES), default=State.OPEN.value)
    severity = models.CharField(max_length=16, choices=_words(SEVERITIES), default=Severity.ERROR.value)
    version = models.PositiveIntegerField(default=1)
    fingerprint = models.CharField(max_length=32, null=True, help_text="alike for what is the same thing again")
    occurrences = models.PositiveBigIntegerField(default=1)
    last_seen_at = models.DateTimeField(db_default=ClockTimestamp(), help_text="the last occurrence")
    last_sequence = models.BigIntegerField(null=True, help_text="the last event that was counted")
    first_job_id = models.UUIDField(null=True)
    last_job_id = models.UUIDField(null=True)
    successes = models.JSONField(default=list, help_text="runs of the job type that succeeded since the last failure")
    assignee = models.CharField(max_length=128, null=True)
    team = models.ForeignKey(Team, models.PROTECT, null=True, db_index=False)
    opened_at = models.DateTimeField(db_default=ClockTimestamp())
    opened_by = models.CharField(max_length=128)
    resolved_at = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True)
    resolution = models.CharField(max_length=2000, null=True)
    evidence_id = models.UUIDField(null=True, help_text="the record of its last resolution")
    merged_into = models.ForeignKey("self", models.PROTECT, null=True, db_index=False, related_name="+")
    parent = models.ForeignKey(
        "self", models.PROTECT, null=True, db_index=False, related_name="+", help_text="the storm it belongs to"
    )
    promise = models.JSONField(default=dict, help_text="the SLA policy as it was when the ticket was opened")
    chain = models.JSONField(default=dict, help_text="the escalation chain as it was when the ticket was opened")
    due_at = models.DateTimeField(null=True, help_text="when the clerk looks at it next; empty = not by itself")

    objects = TenantManager["Ticket"]()
    every = models.Manager["Ticket"]()

    class Meta:
        db_table = "tickets"
        ordering = ["-id"]
        base_manager_name = "every"
        constraints = [
            # What makes "one open ticket a failure" true, whoever races. The tenant is part of the fingerprint.
            models.UniqueConstraint(
                fields=["fingerprint"],
                condition=Q(status__in=OPEN, fingerprint__isnull=False),
                name="ticket_open_once",
            ),
            models.CheckConstraint(condition=Q(status__in=STATES), name="ticket_state_known"),
            models.CheckConstraint(condition=Q(severity__in=SEVERITIES), name="ticket_severity_known"),
            models.CheckConstraint(condition=Q(source__in=SOURCES), name="ticket_source_known"),
            models.CheckConstraint(
                condition=Q(status="closed", closed_at__isnull=False)
                | (~Q(status="closed") & Q(closed_at__isnull=True)),
                name="ticket_closed_at_its_end",
            ),
            models.CheckConstraint(
                condition=~Q(status="resolved") | Q(resolved_at__isnull=False), name="ticket_resolved_at_some_time"
            ),
            models.CheckConstraint(
                condition=Q(merged_into__isnull=True) | (Q(status="closed") & ~Q(merged_into=models.F("id"))),
                name="ticket_merged_is_closed",
            ),
        ]
        indexes = [
            models.Index(fields=["tenant", "-id"], name="tickets_tenant_newest"),
            # What a tenant's page asks every three seconds: the few that are open, among all that there were.
            models.Index(fields=["tenant", "-id"], name="tickets_tenant_open", condition=Q(status__in=OPEN)),
            models.Index(fields=["due_at"], name="tickets_due", condition=Q(due_at__isnull=False)),
            models.Index(
                fields=["fingerprint", "-id"], name="tickets_of_failure", condition=Q(fingerprint__isnull=False)
            ),
            # What a job's success may resolve: few of the tickets, asked for every success.
            models.Index(fields=["tenant", "kind"], name="tickets_of_jobs", condition=Q(status__in=OPEN, source="job")),
            models.Index(fields=["module", "-id"], name="tickets_open_modules", condition=Q(status__in=OPEN)),
            models.Index(fields=["merged_into"], name="tickets_merged", condition=Q(merged_into__isnull=False)),
            models.Index(fields=["parent"], name="tickets_in_storm", condition=Q(parent__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.issue


class Entry(models.Model):
    """One line of a ticket's log: inserted with the change that it tells of, and never touched again."""

    ticket = models.ForeignKey(Ticket, models.PROTECT, db_index=False)
    tenant = models.ForeignKey(Tenant, models.PROTECT, null=True, db_index=False)
    kind = models.CharField(max_length=24, choices=_words(KINDS))
    at = models.DateTimeField(db_default=ClockTimestamp())
    by = models.CharField(max_length=128, help_text="a module, a person, or `plane`: by itself")
    data = models.JSONField(default=dict)

    objects = TenantManager["Entry"]()
    every = models.Manager["Entry"]()

    class Meta:
        db_table = "ticket_entries"
        verbose_name_plural = "entries"
        ordering = ["id"]
        base_manager_name = "every"
        constraints = [models.CheckConstraint(condition=Q(kind__in=KINDS), name="ticket_entry_kind_known")]
        indexes = [models.Index(fields=["ticket", "id"], name="ticket_entries_in_order")]

    def __str__(self) -> str:
        return f"{self.kind} by {self.by}"


class Watcher(models.Model):
    """A person who is told what becomes of a ticket."""

    ticket = models.ForeignKey(Ticket, models.PROTECT, db_index=False)
    tenant = models.ForeignKey(Tenant, models.PROTECT, null=True, db_index=False)
    person = models.CharField(max_length=128)
    since = models.DateTimeField(db_default=ClockTimestamp())

    objects = TenantManager["Watcher"]()
    every = models.Manager["Watcher"]()

    class Meta:
        db_table = "ticket_watchers"
        ordering = ["id"]
        base_manager_name = "every"
        constraints = [models.UniqueConstraint(fields=["ticket", "person"], name="ticket_watched_once")]

    def __str__(self) -> str:
        return self.person


class Link(models.Model):
    """What else a ticket is about, by kind and id: a job, a module, a notification, an evidence record, an event."""

    ticket = models.ForeignKey(Ticket, models.PROTECT, db_index=False)
    tenant = models.ForeignKey(Tenant, models.PROTECT, null=True, db_index=False)
    kind = models.CharField(max_length=16, choices=_words(LINKS))
    ref = models.CharField(max_length=128)
    at = models.DateTimeField(db_default=ClockTimestamp())

    objects = TenantManager["Link"]()
    every = models.Manager["Link"]()

    class Meta:
        db_table = "ticket_links"
        ordering = ["id"]
        base_manager_name = "every"
        constraints = [
            models.UniqueConstraint(fields=["ticket", "kind", "ref"], name="ticket_link_once"),
            models.CheckConstraint(condition=Q(kind__in=LINKS), name="ticket_link_kind_known"),
        ]
        indexes = [models.Index(fields=["kind", "ref"], name="ticket_links_of")]

    def __str__(self) -> str:
        return f"{self.kind} {self.ref}"
