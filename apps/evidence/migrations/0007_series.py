"""Refusals alike: one record stands for them until another counts them; holds and erasures know of it."""

import apps.core.database
import django.db.models.deletion
import django.db.models.manager
from django.db import migrations, models

from apps.tenancy.rls import ForceRowSecurity

# As in 0004, and a hold on a refusal covers the records of the series that stands for it.
ERASED_OR_KEPT = """
CREATE OR REPLACE FUNCTION evidence_erased_or_kept() RETURNS trigger LANGUAGE plpgsql AS $$
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
"""
WITHOUT_SERIES = """
CREATE OR REPLACE FUNCTION evidence_erased_or_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.payload IS NULL AND NEW.salt IS NULL AND OLD.number IS NOT NULL AND OLD.predicate <> 'erasure'
       AND NOT EXISTS (SELECT 1 FROM legal_holds h WHERE h.tenant_id = OLD.tenant_id AND h.released_at IS NULL
                          AND (h.subject_id IS NULL OR h.subject_id = OLD.subject_id)) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'permission denied: evidence is erased, whole and sealed and under no legal hold, or kept'
        USING ERRCODE = 'insufficient_privilege';
END $$;
"""

class Migration(migrations.Migration):

    dependencies = [
        ('evidence', '0006_transitions'),
        ('tenancy', '0004_memberships'),
    ]

    operations = [
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
            ],
            options={
                'verbose_name_plural': 'series',
                'db_table': 'evidence_series',
                'ordering': ['-record_id'],
                'base_manager_name': 'every',
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
        migrations.RemoveConstraint(
            model_name='record',
            name='evidence_predicate_known',
        ),
        migrations.AlterField(
            model_name='record',
            name='predicate',
            field=models.CharField(choices=[('admission', 'it was admitted'), ('refusal', 'it was refused'), ('series', 'it was the first of refusals alike, which are counted'), ('outcome', 'it ended'), ('transition', 'it went from one state to another'), ('erasure', 'bytes of other records were erased: a tombstone')], max_length=16),
        ),
        migrations.AddConstraint(
            model_name='record',
            constraint=models.CheckConstraint(condition=models.Q(('predicate__in', ['admission', 'refusal', 'series', 'outcome', 'transition', 'erasure'])), name='evidence_predicate_known'),
        ),
        migrations.AddField(
            model_name='series',
            name='tenant',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='tenancy.tenant'),
        ),
        migrations.AddField(
            model_name='seriesmember',
            name='record',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to='evidence.series'),
        ),
        migrations.AddField(
            model_name='seriesmember',
            name='tenant',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='tenancy.tenant'),
        ),
        migrations.AddIndex(
            model_name='series',
            index=models.Index(condition=models.Q(('closed_at__isnull', True)), fields=['closes_at'], name='evidence_series_due'),
        ),
        migrations.AddIndex(
            model_name='series',
            index=models.Index(fields=['tenant', 'subject_id'], name='evidence_series_of'),
        ),
        migrations.AddConstraint(
            model_name='series',
            constraint=models.UniqueConstraint(condition=models.Q(('joinable', True)), fields=('tenant', 'alike'), name='evidence_series_open_once'),
        ),
        migrations.AddConstraint(
            model_name='series',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('closed_at__isnull', True), ('count__isnull', True), ('counted_by_id__isnull', True)), models.Q(('closed_at__isnull', False), ('count', 1), ('counted_by_id__isnull', True), ('joinable', False)), models.Q(('closed_at__isnull', False), ('count__gt', 1), ('counted_by_id__isnull', False), ('joinable', False)), _connector='OR'), name='evidence_series_counted_once'),
        ),
        ForceRowSecurity('evidence_series'),
        ForceRowSecurity('evidence_series_members'),
        migrations.RunSQL(ERASED_OR_KEPT, WITHOUT_SERIES),
    ]
