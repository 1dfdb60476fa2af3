"""The event log, which is its own outbox: a row is written with the change that made it true, numbered after commit."""

from __future__ import annotations

from django.db import models

from apps.core.database import ClockTimestamp
from apps.tenancy.context import TenantManager
from apps.tenancy.models import Tenant


class Event(models.Model):
    """One CloudEvent. `sequence` is given by the relay once the row is committed, so no reader skips a late one."""

    event_id = models.UUIDField(primary_key=True)
    sequence = models.BigIntegerField(null=True)
    tenant = models.ForeignKey(Tenant, models.PROTECT, null=True, db_index=False)
    type = models.CharField(max_length=64)
    subject = models.CharField(max_length=64)
    data = models.JSONField(default=dict, help_text="ids, counts, digests, states: never rows of data")
    occurred_at = models.DateTimeField(db_default=ClockTimestamp())

    objects = TenantManager["Event"]()
    every = models.Manager["Event"]()

    class Meta:
        db_table = "events"
        ordering = ["-occurred_at"]
        base_manager_name = "every"
        # What has no number yet stands in one small index alone: the insert is cheap, and no plan for finding the
        # unnumbered can be a bad one (measured: through an index of all sequences, 900 a second instead of 30,000).
        constraints = [
            models.UniqueConstraint(
                fields=["sequence"], condition=models.Q(sequence__isnull=False), name="event_sequence_once"
            ),
        ]
        indexes = [
            models.Index(
                fields=["tenant", "sequence"],
                name="events_tenant_sequence",
                condition=models.Q(sequence__isnull=False),
            ),
            models.Index(
                fields=["subject", "sequence"],
                name="events_subject_sequence",
                condition=models.Q(sequence__isnull=False),
            ),
            models.Index(
                fields=["occurred_at", "event_id"], name="events_unnumbered", condition=models.Q(sequence__isnull=True)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.subject}"


class Consumer(models.Model):
    """How far a follower of the log has come: everything up to `position` was delivered to it at least once."""

    name = models.CharField(primary_key=True, max_length=128)
    position = models.BigIntegerField(default=0)
    moved_at = models.DateTimeField(db_default=ClockTimestamp())

    class Meta:
        db_table = "event_consumers"

    def __str__(self) -> str:
        return f"{self.name} at {self.position}"


class FailedReaction(models.Model):
    """A reaction that failed at an event until the reactor set it aside. The row goes when a later try succeeds."""

    failed_reaction_id = models.UUIDField(primary_key=True)
    reaction = models.CharField(max_length=100, help_text="its dotted path")
    event = models.ForeignKey(Event, models.PROTECT, db_index=False)
    tenant = models.ForeignKey(Tenant, models.PROTECT, null=True, db_index=False)
    tries = models.PositiveIntegerField(default=0)
    error_class = models.CharField(max_length=100)
    error_at = models.CharField(max_length=200, help_text="file and line")
    failed_at = models.DateTimeField(db_default=ClockTimestamp())
    again_at = models.DateTimeField(null=True, help_text="somebody asked for another try")

    objects = TenantManager["FailedReaction"]()
    every = models.Manager["FailedReaction"]()

    class Meta:
        db_table = "failed_reactions"
        ordering = ["-failed_at"]
        base_manager_name = "every"
        constraints = [models.UniqueConstraint(fields=["reaction", "event"], name="failed_reaction_once")]
        indexes = [
            models.Index(
                fields=["again_at"], name="failed_reactions_again", condition=models.Q(again_at__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.reaction} at event {self.event_id}"
