"""Pauses, kept as intervals. What an environment's page had paused becomes one."""

import apps.core.database
import django.db.models.deletion
import django.db.models.manager
from django.db import migrations, models

from apps.tenancy.rls import ForceRowSecurity

PAUSED_BY_PAGE = """
INSERT INTO pauses (pause_id, environment_id, reason, paused_by, started_at, until)
SELECT gen_random_uuid(), name, coalesce(pause_reason, ''), 'operator', clock_timestamp(), paused_until
  FROM environments WHERE paused_until > clock_timestamp()
"""


class Migration(migrations.Migration):

    dependencies = [
        ('jobs', '0009_selection'),
        ('tenancy', '0003_intake'),
    ]

    operations = [
        migrations.CreateModel(
            name='Pause',
            fields=[
                ('pause_id', models.UUIDField(primary_key=True, serialize=False)),
                ('type', models.CharField(max_length=64, null=True)),
                ('reason', models.CharField(max_length=200)),
                ('paused_by', models.CharField(max_length=128)),
                ('started_at', models.DateTimeField(db_default=apps.core.database.ClockTimestamp())),
                ('until', models.DateTimeField(help_text='ends by itself; empty = when somebody resumes', null=True)),
                ('ended_at', models.DateTimeField(help_text='empty = not ended, or not written yet', null=True)),
                ('ended_by', models.CharField(help_text='clock = by itself', max_length=128, null=True)),
                ('environment', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, to='jobs.environment')),
                ('tenant', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, to='tenancy.tenant')),
            ],
            options={
                'db_table': 'pauses',
                'ordering': ['-pause_id'],
                'base_manager_name': 'every',
                'constraints': [models.UniqueConstraint(condition=models.Q(('ended_at__isnull', True)), fields=('environment', 'tenant', 'type'), name='pause_in_force_once', nulls_distinct=False), models.CheckConstraint(condition=models.Q(('ended_at__isnull', True), ('ended_at__gte', models.F('started_at')), _connector='OR'), name='pause_ends_after')],
            },
            managers=[
                ('objects', django.db.models.manager.Manager()),
                ('every', django.db.models.manager.Manager()),
            ],
        ),
        migrations.RunSQL(PAUSED_BY_PAGE, migrations.RunSQL.noop),
        ForceRowSecurity("pauses", operator_writes=True),
    ]
