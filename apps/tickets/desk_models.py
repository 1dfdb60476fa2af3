"""What people decide about tickets: teams, escalation chains, business calendars, and what is promised to whom."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from apps.tenancy.context import TenantManager
from apps.tenancy.models import Tenant


class Team(models.Model):
    """People who take tickets together. The platform's own: every tenant's tickets may be assigned to it."""

    name = models.SlugField(primary_key=True, max_length=48)
    title = models.CharField(max_length=100)
    members = ArrayField(models.CharField(max_length=128), default=list, blank=True, help_text="login names")

    class Meta:
        db_table = "ticket_teams"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class EscalationChain(models.Model):
    """Whom to tell, and how long to wait for somebody to take the ticket before telling the next.

    A ticket keeps the chain as it was when it was opened: editing one changes nothing under way.
    """

    name = models.SlugField(primary_key=True, max_length=48)
    steps = models.JSONField(help_text='[{"after_s": 900, "tell": ["team:batch", "operators"]}, …]')
    rounds = models.PositiveSmallIntegerField(default=1, help_text="how often it goes from the first to the last step")

    class Meta:
        db_table = "escalation_chains"
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(condition=Q(rounds__gte=1, rounds__lte=5), name="escalation_rounds_bounded")
        ]

    def __str__(self) -> str:
        return self.name


class BusinessCalendar(models.Model):
    """When people work: a week's hours in a time zone, without holidays."""

    name = models.SlugField(primary_key=True, max_length=48)
    time_zone = models.CharField(max_length=64, default="UTC")
    hours = models.JSONField(help_text='{"mon": [["09:00", "17:00"]], …}; 24:00 is the end of a day')
    holidays = ArrayField(models.CharField(max_length=10), default=list, blank=True, help_text="days: 2026-12-25")

    class Meta:
        db_table = "business_calendars"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class SlaPolicy(models.Model):
    """What is promised about tickets that it fits: the first that fits, by `position`, is a ticket's own for good."""

    name = models.SlugField(primary_key=True, max_length=48)
    position = models.PositiveIntegerField(default=100, help_text="lower is asked first")
    tenant = models.ForeignKey(Tenant, models.PROTECT, null=True, blank=True, help_text="empty = every tenant")
    module = models.CharField(max_length=64, null=True, blank=True, help_text="empty = every module")
    severity = models.CharField(max_length=16, null=True, blank=True, help_text="empty = every severity")
    response_s = models.PositiveIntegerField(null=True, blank=True, help_text="seconds until somebody answers for it")
    resolution_s = models.PositiveIntegerField(null=True, blank=True, help_text="seconds until it is resolved")
    ack_timeout_s = models.PositiveIntegerField(
        default=1800, help_text="seconds until an acknowledged ticket is open again, unless work began; 0 = never"
    )
    calendar = models.ForeignKey(BusinessCalendar, models.PROTECT, null=True, blank=True, help_text="empty = always")
    chain = models.ForeignKey(EscalationChain, models.PROTECT, null=True, blank=True)

    objects = TenantManager["SlaPolicy"]()
    every = models.Manager["SlaPolicy"]()

    class Meta:
        db_table = "sla_policies"
        verbose_name = "SLA policy"
        verbose_name_plural = "SLA policies"
        ordering = ["position", "name"]
        base_manager_name = "every"

    def __str__(self) -> str:
        return self.name
