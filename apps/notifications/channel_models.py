"""Where notifications go: channels, the routes that lead there, silences, and what each group was told last."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from apps.core.database import ClockTimestamp
from apps.notifications.lifecycle import Classification

CLEARANCES = [each.value for each in Classification]


class Channel(models.Model):
    """A destination, as an operator typed it. Its settings stand in `sealed`, under a key outside the database."""

    channel_id = models.UUIDField(primary_key=True)
    name = models.CharField(max_length=64, unique=True)
    kind = models.CharField(max_length=16, help_text="email, webhook, pagerduty, slack, apprise, inbox")
    sealed = models.BinaryField(default=b"", help_text="its settings: addresses, keys; encrypted")
    shown = models.CharField(max_length=200, default="", help_text="what may be seen of its settings")
    provider = models.CharField(max_length=255, default="", help_text="by whom it goes: what fails together")
    fallback = models.ForeignKey("self", models.SET_NULL, null=True, blank=True, related_name="falls_back_to_us")
    enabled = models.BooleanField(default=True)
    passive = models.BooleanField(default=False, help_text="it waits to be looked at, and wakes nobody")
    regions = ArrayField(models.CharField(max_length=32), null=True, blank=True, help_text="empty = every region")
    clearance = models.CharField(
        max_length=12,
        choices=[(word, word) for word in CLEARANCES],
        default=Classification.CONFIDENTIAL.value,
        help_text="nothing that is classified higher goes by it",
    )
    per_minute = models.PositiveIntegerField(null=True, blank=True, help_text="messages at most; empty = no cap")
    tested_every_s = models.PositiveIntegerField(null=True, blank=True, help_text="of the test message; empty = never")
    version = models.PositiveIntegerField(default=1)
    changed_by = models.CharField(max_length=128, default="")
    created_at = models.DateTimeField(db_default=ClockTimestamp())
    failures = models.PositiveIntegerField(default=0, help_text="failed attempts in a row")
    left_alone_until = models.DateTimeField(null=True, help_text="nothing is sent before: it failed, or asked so")
    recent_ms = ArrayField(models.PositiveIntegerField(), default=list, help_text="how long its last successes took")
    succeeded_at = models.DateTimeField(null=True)
    failed_at = models.DateTimeField(null=True)
    last_error = models.CharField(max_length=64, null=True)
    test_at = models.DateTimeField(null=True, help_text="the last test message")
    test_error = models.CharField(max_length=64, null=True, help_text="empty = it was taken")

    class Meta:
        db_table = "notification_channels"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Route(models.Model):
    """A node of the routing tree: what it is for, how it is gathered, and by which channel it goes."""

    route_id = models.UUIDField(primary_key=True)
    name = models.CharField(max_length=64, unique=True)
    parent = models.ForeignKey("self", models.CASCADE, null=True, blank=True, related_name="children")
    position = models.IntegerField(default=100, help_text="siblings are asked in this order")
    matchers = ArrayField(
        models.CharField(max_length=200),
        default=list,
        blank=True,
        help_text="all must hold: severity=critical, source!=health, component=~db-.*; empty = everything",
    )
    goes_on = models.BooleanField(default=False, help_text="siblings after it are asked as well (`continue`)")
    channel = models.ForeignKey(
        Channel, models.PROTECT, null=True, blank=True, help_text="empty = the one of the route above"
    )
    group_by = ArrayField(models.CharField(max_length=32), null=True, blank=True, help_text="empty = as above")
    group_wait_s = models.PositiveIntegerField(null=True, blank=True, help_text="empty = as above")
    group_interval_s = models.PositiveIntegerField(null=True, blank=True, help_text="empty = as above")
    repeat_s = models.PositiveIntegerField(null=True, blank=True, help_text="0 = never; empty = as above")
    quiet_from = models.TimeField(null=True, blank=True, help_text="from then on only what is critical is told")
    quiet_until = models.TimeField(null=True, blank=True)
    quiet_zone = models.CharField(max_length=64, default="UTC", blank=True)
    draft = models.BooleanField(default=False, help_text="not in force: only the simulator asks it")
    replaces = models.ForeignKey(
        "self", models.CASCADE, null=True, blank=True, related_name="drafts", help_text="of a draft: the route it edits"
    )
    changed_by = models.CharField(max_length=128, default="")

    class Meta:
        db_table = "notification_routes"
        ordering = ["position", "name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(quiet_from__isnull=True, quiet_until__isnull=True)
                | Q(quiet_from__isnull=False, quiet_until__isnull=False),
                name="route_quiet_hours_whole",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Silence(models.Model):
    """What is told to nobody for a while, and who said so."""

    silence_id = models.UUIDField(primary_key=True)
    matchers = ArrayField(models.CharField(max_length=200), help_text="all must hold")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    author = models.CharField(max_length=128)
    comment = models.CharField(max_length=300)
    created_at = models.DateTimeField(db_default=ClockTimestamp())

    class Meta:
        db_table = "notification_silences"
        ordering = ["-silence_id"]
        constraints = [
            models.CheckConstraint(condition=Q(ends_at__gte=models.F("starts_at")), name="silence_ends_after"),
        ]

    def __str__(self) -> str:
        return f"{self.author}: {self.comment}"


class Group(models.Model):
    """What a channel was told last of a group: the memory that spaces messages out."""

    group_id = models.UUIDField(primary_key=True)
    channel = models.ForeignKey(Channel, models.CASCADE, db_index=False)
    group_key = models.CharField(max_length=64)
    told_at = models.DateTimeField(help_text="the last message about what is open")
    interval_s = models.PositiveIntegerField(default=1)
    repeat_s = models.PositiveIntegerField(default=0)
    repeats = models.PositiveIntegerField(default=0)

    class Meta:
        db_table = "notification_groups"
        ordering = ["-told_at"]
        constraints = [models.UniqueConstraint(fields=["channel", "group_key"], name="notification_group_once")]
        indexes = [models.Index(fields=["told_at"], name="notification_groups_told")]

    def __str__(self) -> str:
        return f"{self.channel_id} {self.group_key[:12]}"
