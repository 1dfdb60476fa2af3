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
    SERIES = "series", "it was the first of refusals alike, which are counted"
    OUTCOME = "outcome", "it ended"
    TRANSITION = "transition", "it went from one state to another"
    ERASURE = "erasure", "bytes of other records were erased: a tombstone"


class Record(models.Model):
    """An in-toto statement about one subject. `payload` holds the exact bytes; verifying never re-encodes them.

    `leaf` is SHA-256(0x00 ‖ SHA-256(salt ‖ payload)): the log proves the commitment, so that payload and salt can be
    erased one day and the proof still stand. `number`, the leaf's place in its log (tenant, region), is given by the
    sealer after commit; what a checkpoint signed is never changed again.
    """

    record_id = models.UUIDField(primary_key=True)
    tenant = models.ForeignKey(Tenant, models.PROTECT, db_index=False)
    region = models.CharField(max_length=32)
    kind = models.CharField(max_length=16, default="job")
    subject_id = models.CharField(max_length=64)
    fence = models.BigIntegerField(default=0, help_text="the subject's fence when it was true: a run, or a later redo")
    predicate = models.CharField(max_length=16, choices=Predicate)
    payload = models.BinaryField(null=True, help_text="null once it was erased, which a tombstone explains")
    salt = models.BinaryField(max_length=16, null=True)
    leaf = models.BinaryField(max_length=32)
    number = models.BigIntegerField(null=True)
    created_at = models.DateTimeField(db_default=ClockTimestamp())

    objects = TenantManager["Record"]()
    every = models.Manager["Record"]()

    class Meta:
        db_table = "evidence_records"
        ordering = ["-created_at"]
        base_manager_name = "every"
        constraints = [
            models.UniqueConstraint(fields=["kind", "subject_id", "predicate", "fence"], name="evidence_once"),
            # What has no number yet stands in one small index alone (`apps.events.models.Event` says why).
            models.UniqueConstraint(
                fields=["tenant", "region", "number"],
                condition=models.Q(number__isnull=False),
                name="evidence_number_once",
            ),
            models.CheckConstraint(condition=models.Q(predicate__in=Predicate.values), name="evidence_predicate_known"),
        ]
        indexes = [
            models.Index(
                fields=["created_at", "record_id"], name="evidence_unsealed", condition=models.Q(number__isnull=True)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.predicate} of {self.kind} {self.subject_id}"


class SealedCheckpoint(models.Model):
    """A signed checkpoint: the log of a tenant's records in a region, as it was when numbers `start` to `size` came in.

    `note` is the truth; the columns beside it are there to be found by. `peaks` are the complete subtrees side by side
    (`merkle.Tree`), all that the next step needs to know. The id is derived from the note's bytes.
    """

    checkpoint_id = models.UUIDField(primary_key=True)
    tenant = models.ForeignKey(Tenant, models.PROTECT, db_index=False)
    region = models.CharField(max_length=32)
    start = models.BigIntegerField(help_text="the size of the checkpoint before")
    size = models.BigIntegerField()
    root = models.BinaryField(max_length=32)
    note = models.TextField(help_text="C2SP tlog-checkpoint, as it was signed")
    peaks = models.BinaryField()
    created_at = models.DateTimeField()

    objects = TenantManager["SealedCheckpoint"]()
    every = models.Manager["SealedCheckpoint"]()

    class Meta:
        db_table = "evidence_checkpoints"
        verbose_name = "checkpoint"
        ordering = ["-created_at"]
        base_manager_name = "every"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "region", "size"], name="evidence_size_once"),
            models.CheckConstraint(
                condition=models.Q(start__gte=0, size__gt=models.F("start")), name="evidence_checkpoint_grows"
            ),
        ]

    def __str__(self) -> str:
        return f"checkpoint of {self.tenant_id} in {self.region} at {self.size}"


class Nodes(models.Model):
    """Complete subtrees of a log that stand side by side on one `level`, from index `first` on: 32 bytes each.

    What one step of the sealer completed: a row a level, whether it sealed one record or a thousand. Level 0 are the
    leaves; level -1 are no nodes of the tree but digests over the records' other columns (`statements.columns_hash`).
    """

    nodes_id = models.UUIDField(primary_key=True)
    tenant = models.ForeignKey(Tenant, models.PROTECT, db_index=False)
    region = models.CharField(max_length=32)
    size = models.BigIntegerField(help_text="of the checkpoint that was signed over them")
    level = models.SmallIntegerField()
    first = models.BigIntegerField()
    hashes = models.BinaryField()

    objects = TenantManager["Nodes"]()
    every = models.Manager["Nodes"]()

    class Meta:
        db_table = "evidence_nodes"
        verbose_name = "row of tree nodes"
        verbose_name_plural = "tree nodes"
        ordering = ["-nodes_id"]
        base_manager_name = "every"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "region", "level", "first"], name="evidence_nodes_once"),
        ]
        indexes = [models.Index(fields=["tenant", "region", "size"], name="evidence_nodes_of")]

    def __str__(self) -> str:
        return f"level {self.level} from {self.first} of {self.tenant_id} in {self.region}"


class LegalHold(models.Model):
    """Evidence that must not be erased, whatever its retention: a subject's, or all of a tenant's where none is named.

    Placed and released by `operations.holds` alone, which no erasure can overlook.
    """

    hold_id = models.UUIDField(primary_key=True)
    tenant = models.ForeignKey(Tenant, models.PROTECT, db_index=False)
    subject_id = models.CharField(max_length=64, null=True, help_text="a job's id; null: everything of the tenant's")
    reason = models.CharField(max_length=500)
    placed_by = models.CharField(max_length=128)
    placed_at = models.DateTimeField(db_default=ClockTimestamp())
    released_by = models.CharField(max_length=128, null=True)
    released_at = models.DateTimeField(null=True)

    objects = TenantManager["LegalHold"]()
    every = models.Manager["LegalHold"]()

    class Meta:
        db_table = "legal_holds"
        ordering = ["-hold_id"]
        base_manager_name = "every"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(released_at__isnull=True, released_by__isnull=True)
                | models.Q(released_at__isnull=False, released_by__isnull=False),
                name="legal_hold_released_by_somebody",
            ),
        ]
        indexes = [
            models.Index(
                fields=["tenant", "subject_id"],
                name="legal_holds_in_force",
                condition=models.Q(released_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"legal hold on {self.subject_id or 'everything'} of {self.tenant_id}"


class Emission(models.Model):
    """A batch that the sink accepted: a log's numbers from `start` up to `size`, and the sink's name for them."""

    emission_id = models.UUIDField(primary_key=True)
    tenant = models.ForeignKey(Tenant, models.PROTECT, db_index=False)
    region = models.CharField(max_length=32)
    start = models.BigIntegerField()
    size = models.BigIntegerField()
    ref = models.CharField(max_length=200, help_text="the sink's name for it")
    note = models.TextField(null=True, help_text="the checkpoint at `size`, cosigned by a sink that is a witness")
    accepted_at = models.DateTimeField(db_default=ClockTimestamp())

    objects = TenantManager["Emission"]()
    every = models.Manager["Emission"]()

    class Meta:
        db_table = "evidence_emissions"
        ordering = ["-emission_id"]
        base_manager_name = "every"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "region", "start"], name="evidence_emitted_once"),
            models.CheckConstraint(
                condition=models.Q(start__gte=0, size__gt=models.F("start")), name="evidence_emission_holds_records"
            ),
        ]

    def __str__(self) -> str:
        return f"records {self.start} to {self.size} of {self.tenant_id} in {self.region}"


class Outlet(models.Model):
    """How far a log was emitted, and how that goes. One row a log, which the emitter alone writes.

    Everything below `emitted` was accepted. Jobs whose records lie from there up to `owed` read `pending_audit`.
    """

    outlet_id = models.UUIDField(primary_key=True)
    tenant = models.ForeignKey(Tenant, models.PROTECT, db_index=False)
    region = models.CharField(max_length=32)
    emitted = models.BigIntegerField(default=0)
    owed = models.BigIntegerField(default=0)
    tries = models.PositiveIntegerField(default=0, help_text="failed ones in a row")
    failing_since = models.DateTimeField(null=True)
    due_at = models.DateTimeField(null=True, help_text="of one that fails: the next try")
    error = models.CharField(max_length=200, null=True, help_text="what the sink said last, or that it is away")

    objects = TenantManager["Outlet"]()
    every = models.Manager["Outlet"]()

    class Meta:
        db_table = "evidence_outlets"
        ordering = ["tenant_id", "region"]
        base_manager_name = "every"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "region"], name="evidence_outlet_once"),
            models.CheckConstraint(
                condition=models.Q(failing_since__isnull=True, tries=0)
                | models.Q(failing_since__isnull=False, tries__gt=0),
                name="evidence_outlet_fails_since",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.tenant_id} in {self.region}, emitted up to {self.emitted}"


class Series(models.Model):
    """Refusals alike: the first one's record stands for all, until a record counts them (`operations.series`).

    `alike` is a digest of what they have in common. `joinable`: more may join, unless its time is over. Who commits a
    refusal of it holds the row open; once it is counted nobody joins any more.
    """

    record_id = models.UUIDField(primary_key=True, help_text="the record of its first refusal")
    tenant = models.ForeignKey(Tenant, models.PROTECT, db_index=False)
    region = models.CharField(max_length=32)
    subject_id = models.CharField(max_length=64, help_text="the first job that was refused")
    alike = models.CharField(max_length=64)
    digest = models.CharField(max_length=71, help_text="of the first one's params")
    joinable = models.BooleanField(default=True)
    opened_at = models.DateTimeField(db_default=ClockTimestamp())
    closes_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)
    count = models.IntegerField(null=True, help_text="the first one and all that it stands for, once they are counted")
    counted_by_id = models.UUIDField(null=True, help_text="the record that counts them; a series of one has none")

    objects = TenantManager["Series"]()
    every = models.Manager["Series"]()

    class Meta:
        db_table = "evidence_series"
        verbose_name_plural = "series"
        ordering = ["-record_id"]
        base_manager_name = "every"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "alike"], name="evidence_series_open_once", condition=models.Q(joinable=True)
            ),
            models.CheckConstraint(
                condition=models.Q(closed_at__isnull=True, count__isnull=True, counted_by_id__isnull=True)
                | models.Q(closed_at__isnull=False, joinable=False, count=1, counted_by_id__isnull=True)
                | models.Q(closed_at__isnull=False, joinable=False, count__gt=1, counted_by_id__isnull=False),
                name="evidence_series_counted_once",
            ),
        ]
        indexes = [
            models.Index(fields=["closes_at"], name="evidence_series_due", condition=models.Q(closed_at__isnull=True)),
            models.Index(fields=["tenant", "subject_id"], name="evidence_series_of"),
        ]

    def __str__(self) -> str:
        return f"refusals alike of {self.tenant_id}, from job {self.subject_id} on"


class SeriesMember(models.Model):
    """A refused subject for which the record of its series stands."""

    subject_id = models.CharField(primary_key=True, max_length=64)
    tenant = models.ForeignKey(Tenant, models.PROTECT, db_index=False)
    record = models.ForeignKey(Series, models.PROTECT)
    digest = models.CharField(max_length=71, help_text="of its params")
    joined_at = models.DateTimeField(db_default=ClockTimestamp())

    objects = TenantManager["SeriesMember"]()
    every = models.Manager["SeriesMember"]()

    class Meta:
        db_table = "evidence_series_members"
        verbose_name = "refusal of a series"
        verbose_name_plural = "refusals of series"
        ordering = ["-joined_at"]
        base_manager_name = "every"

    def __str__(self) -> str:
        return f"refusal of job {self.subject_id}"
