"""Evidence: what was decided and how it ended, as exact bytes that are written once and never changed."""

from __future__ import annotations

from django.db import models

from apps.core.database import ClockTimestamp
from apps.tenancy.context import TenantManager
from apps.tenancy.models import Tenant


class Predicate(models.TextChoices):
    """What a record states about its subject."""

    ADMISSION = "admission", "it was admitted"
    REFUSAL = "refusal", "it was refused"
    OUTCOME = "outcome", "it ended"


class RecordState(models.TextChoices):
    """How far a record has come on its way out of this database."""

    PENDING = "pending", "written, not yet accepted by the sink"
    EMITTED = "emitted", "accepted by the sink"


class Record(models.Model):
    """An in-toto statement about one subject. `payload` holds the exact bytes; verifying never re-encodes them.

    `leaf` is SHA-256(0x00 ‖ SHA-256(salt ‖ payload)): the log proves the commitment, so that payload and salt can be
    erased one day and the proof still stand. `number` is given by the sealer after commit.
    """

    record_id = models.UUIDField(primary_key=True)
    tenant = models.ForeignKey(Tenant, models.PROTECT, db_index=False)
    region = models.CharField(max_length=32)
    kind = models.CharField(max_length=16, default="job")
    subject_id = models.CharField(max_length=64)
    fence = models.BigIntegerField(default=0, help_text="the subject's fence when it was true: a run, or a later redo")
    predicate = models.CharField(max_length=16, choices=Predicate)
    payload = models.BinaryField()
    salt = models.BinaryField(max_length=16)
    leaf = models.BinaryField(max_length=32)
    number = models.BigIntegerField(null=True)
    state = models.CharField(max_length=16, choices=RecordState, default=RecordState.PENDING)
    ref = models.CharField(max_length=200, null=True, help_text="the sink's name for it")
    tries = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(db_default=ClockTimestamp())

    objects = TenantManager["Record"]()
    every = models.Manager["Record"]()

    class Meta:
        db_table = "evidence_records"
        ordering = ["-created_at"]
        base_manager_name = "every"
        constraints = [
            models.UniqueConstraint(fields=["kind", "subject_id", "predicate", "fence"], name="evidence_once"),
            models.UniqueConstraint(fields=["tenant", "region", "number"], name="evidence_number_once"),
            models.CheckConstraint(condition=models.Q(predicate__in=Predicate.values), name="evidence_predicate_known"),
            models.CheckConstraint(condition=models.Q(state__in=RecordState.values), name="evidence_state_known"),
        ]
        indexes = [
            models.Index(fields=["created_at"], name="evidence_unsealed", condition=models.Q(number__isnull=True)),
        ]

    def __str__(self) -> str:
        return f"{self.predicate} of {self.kind} {self.subject_id}"
