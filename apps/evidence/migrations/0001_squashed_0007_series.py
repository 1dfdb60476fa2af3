"""Evidence: the log, its trees, its emission, holds, refusals alike: as 0001 to 0007 leave them, in one step."""

import apps.core.database
import django.db.models.deletion
import django.db.models.manager
from django.db import migrations, models

from apps.tenancy.rls import ForceRowSecurity

# Hashes do not compress, and a proof needs 32 bytes out of a row of thousands: uncompressed they are read by slices.
BY_SLICES = "ALTER TABLE evidence_nodes ALTER COLUMN hashes SET STORAGE EXTERNAL"

# The loops may erase a record's bytes and never write them: a grant on columns cannot say so much, a trigger can. It
# binds their role alone; whoever is mightier is found by verifying the log. A hold on a refusal covers the records of the
# series that stands for it.
ERASED_OR_KEPT = """
CREATE FUNCTION evidence_erased_or_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.payload IS NULL AND NEW.salt IS NULL AND OLD.number IS NOT NULL AND OLD.predicate <> 'erasure'
       AND NOT EXISTS (SELECT 1 FROM legal_holds h WHERE h.tenant_id = OLD.tenant_id AND h.released_at IS NULL
                          AND (h.subject_id IS NULL OR h.subject_id = OLD.subject_id OR EXISTS (
                            SELECT 1 FROM evidence_series_members m JOIN evidence_series s USING (record_id)
                             WHERE m.subject_id = h.subject_id AND s.subject_id = OLD.subject_id))) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'permission denied: evidence is erased, whole and sealed and under no legal hold, or kept'
        USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER evidence_erased_or_kept BEFORE UPDATE OF payload, salt ON evidence_records
   FOR EACH ROW WHEN (current_user = 'ops_control') EXECUTE FUNCTION evidence_erased_or_kept();
"""
WRITABLE_AGAIN = """
DROP TRIGGER evidence_erased_or_kept ON evidence_records;
DROP FUNCTION evidence_erased_or_kept();
"""


class Migration(migrations.Migration):

    replaces = [
        ('evidence', '0001_initial'),
        ('evidence', '0002_row_security'),
        ('evidence', '0003_sealing'),
        ('evidence', '0004_retention'),
        ('evidence', '0005_emission'),
        ('evidence', '0006_transitions'),
        ('evidence', '0007_series'),
    ]

    initial = True

    dependencies = [
        ('tenancy', '0004_memberships'),
    ]

    operations = [
        migrations.CreateModel(
            name='Record',
            fields=[
                ('record_id', models.UUIDField(primary_key=True, serialize=False)),
                ('region', models.CharField(max_length=32)),
                ('kind', models.CharField(default='job', max_length=16)),
                ('subject_id', models.CharField(max_length=64)),
                ('fence', models.BigIntegerField(default=0, help_text="the subject's fence when it was true: a run, or a later redo")),
                ('predicate', models.CharField(choices=[('admission', 'it was admitted'), ('refusal', 'it was refused'), ('series', 'it was the first of refusals alike, which are counted'), ('outcome', 'it ended'), ('transition', 'it went from one state to another'), ('erasure', 'bytes of other records were erased: a tombstone')], max_length=16)),
                ('payload', models.BinaryField(help_text='null once it was erased, which a tombstone explains', null=True)),
                ('salt', models.BinaryField(max_length=16, null=True)),
                ('leaf', models.BinaryField(max_length=32)),
                ('number', models.BigIntegerField(null=True)),
                ('created_at', models.DateTimeField(db_default=apps.core.database.ClockTimestamp())),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='tenancy.tenant')),
            ],
            options={
                'db_table': 'evidence_records',
                'ordering': ['-created_at'],
                'base_manager_name': 'every',
                'indexes': [models.Index(condition=models.Q(('number__isnull', True)), fields=['created_at', 'record_id'], name='evidence_unsealed')],
                'constraints': [models.UniqueConstraint(fields=('kind', 'subject_id', 'predicate', 'fence'), name='evidence_once'), models.UniqueConstraint(condition=models.Q(('number__isnull', False)), fields=('tenant', 'region', 'number'), name='evidence_number_once'), models.CheckConstraint(condition=models.Q(('predicate__in', ['admission', 'refusal', 'series', 'outcome', 'transition', 'erasure'])), name='evidence_predicate_known')],
            },
            managers=[
                ('objects', django.db.models.manager.Manager()),
                ('every', django.db.models.manager.Manager()),
            ],
        ),
        migrations.CreateModel(
            name='Nodes',
            fields=[
                ('nodes_id', models.UUIDField(primary_key=True, serialize=False)),
                ('region', models.CharField(max_length=32)),
                ('size', models.BigIntegerField(help_text='of the checkpoint that was signed over them')),
                ('level', models.SmallIntegerField()),
                ('first', models.BigIntegerField()),
                ('hashes', models.BinaryField()),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='tenancy.tenant')),
            ],
            options={
                'verbose_name': 'row of tree nodes',
                'verbose_name_plural': 'tree nodes',
                'db_table': 'evidence_nodes',
                'ordering': ['-nodes_id'],
                'base_manager_name': 'every',
                'indexes': [models.Index(fields=['tenant', 'region', 'size'], name='evidence_nodes_of')],
                'constraints': [models.UniqueConstraint(fields=('tenant', 'region', 'level', 'first'), name='evidence_nodes_once')],
            },
            managers=[
                ('objects', django.db.models.manager.Manager()),
                ('every', django.db.models.manager.Manager()),
            ],
        ),
        migrations.CreateModel(
            name='SealedCheckpoint',
            fields=[
                ('checkpoint_id', models.UUIDField(primary_key=True, serialize=False)),
                ('region', models.CharField(max_length=32)),
                ('start', models.BigIntegerField(help_text='the size of the checkpoint before')),
                ('size', models.BigIntegerField()),
                ('root', models.BinaryField(max_length=32)),
                ('note', models.TextField(help_text='C2SP tlog-checkpoint, as it was signed')),
                ('peaks', models.BinaryField()),
                ('created_at', models.DateTimeField()),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='tenancy.tenant')),
            ],
            options={
                'verbose_name': 'checkpoint',
                'db_table': 'evidence_checkpoints',
                'ordering': ['-created_at'],
                'base_manager_name': 'every',
                'constraints': [models.UniqueConstraint(fields=('tenant', 'region', 'size'), name='evidence_size_once'), models.CheckConstraint(condition=models.Q(('size__gt', models.F('start')), ('start__gte', 0)), name='evidence_checkpoint_grows')],
            },
            managers=[
                ('objects', django.db.models.manager.Manager()),
                ('every', django.db.models.manager.Manager()),
            ],
        ),
        migrations.CreateModel(
            name='LegalHold',
            fields=[
                ('hold_id', models.UUIDField(primary_key=True, serialize=False)),
                ('subject_id', models.CharField(help_text="a job's id; null: everything of the tenant's", max_length=64, null=True)),
                ('reason', models.CharField(max_length=500)),
                ('placed_by', models.CharField(max_length=128)),
                ('placed_at', models.DateTimeField(db_default=apps.core.database.ClockTimestamp())),
                ('released_by', models.CharField(max_length=128, null=True)),
                ('released_at', models.DateTimeField(null=True)),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='tenancy.tenant')),
            ],
            options={
                'db_table': 'legal_holds',
                'ordering': ['-hold_id'],
                'base_manager_name': 'every',
                'indexes': [models.Index(condition=models.Q(('released_at__isnull', True)), fields=['tenant', 'subject_id'], name='legal_holds_in_force')],
                'constraints': [models.CheckConstraint(condition=models.Q(models.Q(('released_at__isnull', True), ('released_by__isnull', True)), models.Q(('released_at__isnull', False), ('released_by__isnull', False)), _connector='OR'), name='legal_hold_released_by_somebody')],
            },
            managers=[
                ('objects', django.db.models.manager.Manager()),
                ('every', django.db.models.manager.Manager()),
            ],
        ),
        migrations.CreateModel(
            name='Emission',
            fields=[
                ('emission_id', models.UUIDField(primary_key=True, serialize=False)),
                ('region', models.CharField(max_length=32)),
                ('start', models.BigIntegerField()),
                ('size', models.BigIntegerField()),
                ('ref', models.CharField(help_text="the sink's name for it", max_length=200)),
                ('note', models.TextField(help_text='the checkpoint at `size`, cosigned by a sink that is a witness', null=True)),
                ('accepted_at', models.DateTimeField(db_default=apps.core.database.ClockTimestamp())),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='tenancy.tenant')),
            ],
            options={
                'db_table': 'evidence_emissions',
                'ordering': ['-emission_id'],
                'base_manager_name': 'every',
                'constraints': [models.UniqueConstraint(fields=('tenant', 'region', 'start'), name='evidence_emitted_once'), models.CheckConstraint(condition=models.Q(('size__gt', models.F('start')), ('start__gte', 0)), name='evidence_emission_holds_records')],
            },
            managers=[
                ('objects', django.db.models.manager.Manager()),
                ('every', django.db.models.manager.Manager()),
            ],
        ),
        migrations.CreateModel(
            name='Outlet',
            fields=[
                ('outlet_id', models.UUIDField(primary_key=True, serialize=False)),
                ('region', models.CharField(max_length=32)),
                ('emitted', models.BigIntegerField(default=0)),
                ('owed', models.BigIntegerField(default=0)),
                ('tries', models.PositiveIntegerField(default=0, help_text='failed ones in a row')),
                ('failing_since', models.DateTimeField(null=True)),
                ('due_at', models.DateTimeField(help_text='of one that fails: the next try', null=True)),
                ('error', models.CharField(help_text='what the sink said last, or that it is away', max_length=200, null=True)),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='tenancy.tenant')),
            ],
            options={
                'db_table': 'evidence_outlets',
                'ordering': ['tenant_id', 'region'],
                'base_manager_name': 'every',
                'constraints': [models.UniqueConstraint(fields=('tenant', 'region'), name='evidence_outlet_once'), models.CheckConstraint(condition=models.Q(models.Q(('failing_since__isnull', True), ('tries', 0)), models.Q(('failing_since__isnull', False), ('tries__gt', 0)), _connector='OR'), name='evidence_outlet_fails_since')],
            },
            managers=[
                ('objects', django.db.models.manager.Manager()),
                ('every', django.db.models.manager.Manager()),
            ],
        ),
        migrations.CreateModel(
            name='Series',
            fields=[
                ('record_id', models.UUIDField(help_text='the record of its first refusal', primary_key=True, serialize=False)),
                ('region', models.CharField(max_length=32)),
                ('subject_id', models.CharField(help_text='the first job that was refused', max_length=64)),
                ('alike', models.CharField(max_length=64)),
                ('digest', models.CharField(help_text="of the first one's params", max_length=71)),
                ('joinable', models.BooleanField(default=True)),
                ('opened_at', models.DateTimeField(db_default=apps.core.database.ClockTimestamp())),
                ('closes_at', models.DateTimeField()),
                ('closed_at', models.DateTimeField(null=True)),
                ('count', models.IntegerField(help_text='the first one and all that it stands for, once they are counted', null=True)),
                ('counted_by_id', models.UUIDField(help_text='the record that counts them; a series of one has none', null=True)),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='tenancy.tenant')),
            ],
            options={
                'verbose_name_plural': 'series',
                'db_table': 'evidence_series',
                'ordering': ['-record_id'],
                'base_manager_name': 'every',
                'indexes': [models.Index(condition=models.Q(('closed_at__isnull', True)), fields=['closes_at'], name='evidence_series_due'), models.Index(fields=['tenant', 'subject_id'], name='evidence_series_of')],
                'constraints': [models.UniqueConstraint(condition=models.Q(('joinable', True)), fields=('tenant', 'alike'), name='evidence_series_open_once'), models.CheckConstraint(condition=models.Q(models.Q(('closed_at__isnull', True), ('count__isnull', True), ('counted_by_id__isnull', True)), models.Q(('closed_at__isnull', False), ('count', 1), ('counted_by_id__isnull', True), ('joinable', False)), models.Q(('closed_at__isnull', False), ('count__gt', 1), ('counted_by_id__isnull', False), ('joinable', False)), _connector='OR'), name='evidence_series_counted_once')],
            },
            managers=[
                ('objects', django.db.models.manager.Manager()),
                ('every', django.db.models.manager.Manager()),
            ],
        ),
        migrations.CreateModel(
            name='SeriesMember',
            fields=[
                ('subject_id', models.CharField(max_length=64, primary_key=True, serialize=False)),
                ('digest', models.CharField(help_text='of its params', max_length=71)),
                ('joined_at', models.DateTimeField(db_default=apps.core.database.ClockTimestamp())),
                ('record', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to='evidence.series')),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='tenancy.tenant')),
            ],
            options={
                'verbose_name': 'refusal of a series',
                'verbose_name_plural': 'refusals of series',
                'db_table': 'evidence_series_members',
                'ordering': ['-joined_at'],
                'base_manager_name': 'every',
            },
            managers=[
                ('objects', django.db.models.manager.Manager()),
                ('every', django.db.models.manager.Manager()),
            ],
        ),
        ForceRowSecurity("evidence_records"),
        ForceRowSecurity("evidence_nodes"),
        ForceRowSecurity("evidence_checkpoints"),
        ForceRowSecurity("legal_holds", operator_writes=True),
        ForceRowSecurity("evidence_emissions"),
        ForceRowSecurity("evidence_outlets"),
        ForceRowSecurity("evidence_series"),
        ForceRowSecurity("evidence_series_members"),
        migrations.RunSQL(BY_SLICES, migrations.RunSQL.noop),
        migrations.RunSQL(ERASED_OR_KEPT, WRITABLE_AGAIN),
    ]
