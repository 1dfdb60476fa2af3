"""Selection: lanes that can be stepped through, who leads, token buckets, when gates were shut, what was predicted."""

import apps.core.database
import django.db.models.deletion
import django.db.models.manager
from django.db import migrations, models

from apps.tenancy.rls import TENANT, ForceRowSecurity

# A gate without a tenant (an environment that is full, a type at its limit) is everybody's to see.
EVERYBODYS_GATES = f"""
DROP POLICY tenant ON gate_intervals;
CREATE POLICY tenant ON gate_intervals TO ops_app
 USING (tenant_id IS NULL OR tenant_id = {TENANT}) WITH CHECK (tenant_id = {TENANT});
"""


class Migration(migrations.Migration):

    dependencies = [
        ('jobs', '0008_dependencies'),
        ('tenancy', '0003_intake'),
    ]

    operations = [
        migrations.CreateModel(
            name='GateInterval',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('gate', models.CharField(max_length=32)),
                ('environment', models.CharField(max_length=48, null=True)),
                ('tenant_id', models.CharField(max_length=48, null=True)),
                ('type', models.CharField(max_length=64, null=True)),
                ('started_at', models.DateTimeField(db_default=apps.core.database.ClockTimestamp())),
                ('ended_at', models.DateTimeField(null=True)),
            ],
            options={
                'db_table': 'gate_intervals',
            },
        ),
        migrations.CreateModel(
            name='Leader',
            fields=[
                ('role', models.CharField(max_length=32, primary_key=True, serialize=False)),
                ('epoch', models.BigIntegerField()),
                ('taken_at', models.DateTimeField(db_default=apps.core.database.ClockTimestamp())),
            ],
            options={
                'db_table': 'leaders',
            },
        ),
        migrations.CreateModel(
            name='RateBucket',
            fields=[
                ('bucket', models.CharField(max_length=128, primary_key=True, serialize=False)),
                ('tokens', models.FloatField()),
                ('refilled_at', models.DateTimeField(db_default=apps.core.database.ClockTimestamp())),
            ],
            options={
                'db_table': 'rate_buckets',
            },
        ),
        migrations.CreateModel(
            name='StartPrediction',
            fields=[
                ('job_id', models.UUIDField(primary_key=True, serialize=False)),
                ('environment', models.CharField(max_length=48)),
                ('predicted_at', models.DateTimeField(db_default=apps.core.database.ClockTimestamp())),
                ('starts_at', models.DateTimeField()),
            ],
            options={
                'db_table': 'start_predictions',
                'base_manager_name': 'every',
            },
            managers=[
                ('objects', django.db.models.manager.Manager()),
                ('every', django.db.models.manager.Manager()),
            ],
        ),
        migrations.CreateModel(
            name="PoolLoad",
            fields=[
                ("environment", models.CharField(max_length=48, primary_key=True, serialize=False)),
                ("by_type", models.JSONField(default=dict, help_text="leases by job type")),
                ("children", models.PositiveIntegerField(help_text="worker processes that serve it")),
                ("waiting_weight", models.FloatField(help_text="of the tenants that wait, together")),
                ("seen_at", models.DateTimeField(db_default=apps.core.database.ClockTimestamp())),
            ],
            options={"db_table": "pool_loads"},
        ),
        migrations.RemoveIndex(
            model_name='job',
            name='jobs_queue',
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(models.F('environment'), models.F('tenant'), models.F('type'), models.F('priority'), models.ExpressionWrapper(models.Q(('concurrency_key__isnull', False)), output_field=models.BooleanField()), models.F('queued_at'), models.F('job_id'), condition=models.Q(('status', 'queued')), name='jobs_lanes'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(condition=models.Q(('concurrency_key__isnull', False), ('status', 'queued')), fields=['environment', 'tenant', 'type', 'concurrency_key', 'priority', 'queued_at', 'job_id'], name='jobs_lane_keys'),
        ),
        migrations.AddIndex(
            model_name='gateinterval',
            index=models.Index(fields=['ended_at'], name='gate_intervals_ended'),
        ),
        migrations.AddIndex(
            model_name='gateinterval',
            index=models.Index(condition=models.Q(('ended_at__isnull', True)), fields=['gate'], name='gate_intervals_open'),
        ),
        migrations.AddField(
            model_name='startprediction',
            name='tenant',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='tenancy.tenant'),
        ),
        migrations.AddIndex(
            model_name='startprediction',
            index=models.Index(fields=['tenant', '-predicted_at'], name='start_predictions_newest'),
        ),
        ForceRowSecurity("gate_intervals"),
        migrations.RunSQL(EVERYBODYS_GATES, migrations.RunSQL.noop),
        ForceRowSecurity("start_predictions"),
    ]
