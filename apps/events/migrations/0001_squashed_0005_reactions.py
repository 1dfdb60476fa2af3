"""The log of events, how far each reader is, and reactions that failed: as 0001 to 0005 leave them, in one step."""

import apps.core.database
import django.db.models.deletion
import django.db.models.manager
from django.db import migrations, models

from apps.tenancy.rls import ForceRowSecurity

# What people do for the whole platform is told too: the operator's role may append events that are no tenant's. The
# grant is in opsplatform/roles.py: inserting, never changing.
WIDER = """
DROP POLICY operator ON events;
CREATE POLICY operator ON events TO ops_operator USING (true) WITH CHECK (tenant_id IS NULL);
"""
READING = """
DROP POLICY operator ON events;
CREATE POLICY operator ON events FOR SELECT TO ops_operator USING (true);
"""


class Migration(migrations.Migration):

    replaces = [
        ('events', '0001_initial'),
        ('events', '0002_row_security'),
        ('events', '0003_stream'),
        ('events', '0004_platform_events'),
        ('events', '0005_reactions'),
    ]

    initial = True

    dependencies = [
        ('tenancy', '0003_intake'),
    ]

    operations = [
        migrations.CreateModel(
            name='Consumer',
            fields=[
                ('name', models.CharField(max_length=128, primary_key=True, serialize=False)),
                ('position', models.BigIntegerField(default=0)),
                ('moved_at', models.DateTimeField(db_default=apps.core.database.ClockTimestamp())),
            ],
            options={
                'db_table': 'event_consumers',
            },
        ),
        migrations.CreateModel(
            name='Event',
            fields=[
                ('event_id', models.UUIDField(primary_key=True, serialize=False)),
                ('sequence', models.BigIntegerField(null=True)),
                ('type', models.CharField(max_length=64)),
                ('subject', models.CharField(max_length=64)),
                ('data', models.JSONField(default=dict, help_text='ids, counts, digests, states: never rows of data')),
                ('occurred_at', models.DateTimeField(db_default=apps.core.database.ClockTimestamp())),
                ('tenant', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, to='tenancy.tenant')),
            ],
            options={
                'db_table': 'events',
                'ordering': ['-occurred_at'],
                'base_manager_name': 'every',
                'indexes': [models.Index(condition=models.Q(('sequence__isnull', True)), fields=['occurred_at', 'event_id'], name='events_unnumbered'), models.Index(condition=models.Q(('sequence__isnull', False)), fields=['tenant', 'sequence'], name='events_tenant_sequence'), models.Index(condition=models.Q(('sequence__isnull', False)), fields=['subject', 'sequence'], name='events_subject_sequence')],
                'constraints': [models.UniqueConstraint(condition=models.Q(('sequence__isnull', False)), fields=('sequence',), name='event_sequence_once')],
            },
            managers=[
                ('objects', django.db.models.manager.Manager()),
                ('every', django.db.models.manager.Manager()),
            ],
        ),
        migrations.CreateModel(
            name='FailedReaction',
            fields=[
                ('failed_reaction_id', models.UUIDField(primary_key=True, serialize=False)),
                ('reaction', models.CharField(help_text='its dotted path', max_length=100)),
                ('tries', models.PositiveIntegerField(default=0)),
                ('error_class', models.CharField(max_length=100)),
                ('error_at', models.CharField(help_text='file and line', max_length=200)),
                ('failed_at', models.DateTimeField(db_default=apps.core.database.ClockTimestamp())),
                ('again_at', models.DateTimeField(help_text='somebody asked for another try', null=True)),
                ('event', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='events.event')),
                ('tenant', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, to='tenancy.tenant')),
            ],
            options={
                'db_table': 'failed_reactions',
                'ordering': ['-failed_at'],
                'base_manager_name': 'every',
                'indexes': [models.Index(condition=models.Q(('again_at__isnull', False)), fields=['again_at'], name='failed_reactions_again')],
                'constraints': [models.UniqueConstraint(fields=('reaction', 'event'), name='failed_reaction_once')],
            },
            managers=[
                ('objects', django.db.models.manager.Manager()),
                ('every', django.db.models.manager.Manager()),
            ],
        ),
        ForceRowSecurity("events"),
        ForceRowSecurity("failed_reactions", operator_writes=True),
        migrations.RunSQL(WIDER, READING),
    ]
