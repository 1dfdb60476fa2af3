"""Records past their retention may lose their bytes, unless a legal hold forbids it."""

import apps.core.database
import django.db.models.deletion
import django.db.models.manager
from django.db import migrations, models

from apps.tenancy.rls import ForceRowSecurity

# The loops may erase a record's bytes and never write them: a grant on columns cannot say so much, a trigger can. It
# binds their role alone; whoever is mightier is found by verifying the log.
ERASED_OR_KEPT = """
CREATE FUNCTION evidence_erased_or_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.payload IS NULL AND NEW.salt IS NULL AND OLD.number IS NOT NULL AND OLD.predicate <> 'erasure'
       AND NOT EXISTS (SELECT 1 FROM legal_holds h WHERE h.tenant_id = OLD.tenant_id AND h.released_at IS NULL
                          AND (h.subject_id IS NULL OR h.subject_id = OLD.subject_id)) THEN
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

    dependencies = [
        ('evidence', '0003_sealing'),
        ('tenancy', '0003_intake'),
    ]

    operations = [
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
            ],
            options={
                'db_table': 'legal_holds',
                'ordering': ['-hold_id'],
                'base_manager_name': 'every',
            },
            managers=[
                ('objects', django.db.models.manager.Manager()),
                ('every', django.db.models.manager.Manager()),
            ],
        ),
        migrations.RemoveConstraint(
            model_name='record',
            name='evidence_predicate_known',
        ),
        migrations.AlterField(
            model_name='record',
            name='payload',
            field=models.BinaryField(help_text='null once it was erased, which a tombstone explains', null=True),
        ),
        migrations.AlterField(
            model_name='record',
            name='predicate',
            field=models.CharField(choices=[('admission', 'it was admitted'), ('refusal', 'it was refused'), ('outcome', 'it ended'), ('erasure', 'bytes of other records were erased: a tombstone')], max_length=16),
        ),
        migrations.AlterField(
            model_name='record',
            name='salt',
            field=models.BinaryField(max_length=16, null=True),
        ),
        migrations.AddConstraint(
            model_name='record',
            constraint=models.CheckConstraint(condition=models.Q(('predicate__in', ['admission', 'refusal', 'outcome', 'erasure'])), name='evidence_predicate_known'),
        ),
        migrations.AddField(
            model_name='legalhold',
            name='tenant',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='tenancy.tenant'),
        ),
        migrations.AddIndex(
            model_name='legalhold',
            index=models.Index(condition=models.Q(('released_at__isnull', True)), fields=['tenant', 'subject_id'], name='legal_holds_in_force'),
        ),
        migrations.AddConstraint(
            model_name='legalhold',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('released_at__isnull', True), ('released_by__isnull', True)), models.Q(('released_at__isnull', False), ('released_by__isnull', False)), _connector='OR'), name='legal_hold_released_by_somebody'),
        ),
        ForceRowSecurity("legal_holds", operator_writes=True),
        migrations.RunSQL(ERASED_OR_KEPT, WRITABLE_AGAIN),
    ]
