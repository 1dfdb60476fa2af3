"""Plans, who has which, and what was used: as 0001 to 0005 leave them, in one step."""

import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.datetime
import django.db.models.manager
from django.db import migrations, models

from apps.tenancy.rls import ForceRowSecurity


class Migration(migrations.Migration):

    replaces = [
        ('subscription', '0001_initial'),
        ('subscription', '0002_row_security'),
        ('subscription', '0003_usage_daily'),
        ('subscription', '0004_plan_rate'),
        ('subscription', '0005_audit_debt'),
    ]

    initial = True

    dependencies = [
        ('tenancy', '0003_intake'),
    ]

    operations = [
        migrations.CreateModel(
            name='Plan',
            fields=[
                ('plan_id', models.SlugField(max_length=48, primary_key=True, serialize=False)),
                ('job_types', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=64), help_text="patterns such as 'ops.*' or '*'", size=None)),
                ('weight', models.PositiveIntegerField(default=100, help_text='share of worker-seconds beside other tenants')),
                ('max_running', models.PositiveIntegerField(default=4, help_text='slots held at any instant; more wait')),
                ('jobs_per_day', models.PositiveIntegerField(blank=True, help_text='more are refused; empty = no limit', null=True)),
                ('backlog_cap', models.PositiveIntegerField(default=100000, help_text='jobs waiting at once; more are refused')),
                ('changed_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('rate', models.CharField(blank=True, help_text='jobs handed out in a time; more wait; empty = no limit', max_length=32, null=True)),
                ('audit_debt', models.PositiveIntegerField(db_default=10000, default=10000, help_text='evidence records that the sink refuses to accept before more jobs are refused')),
            ],
            options={
                'db_table': 'plans',
                'ordering': ['plan_id'],
            },
        ),
        migrations.CreateModel(
            name='Subscription',
            fields=[
                ('tenant', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, primary_key=True, serialize=False, to='tenancy.tenant')),
                ('state', models.CharField(choices=[('active', 'active'), ('ended', 'ended')], default='active', max_length=16)),
                ('valid_until', models.DateTimeField(blank=True, null=True)),
                ('changed_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('plan', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to='subscription.plan')),
            ],
            options={
                'db_table': 'subscriptions',
                'constraints': [models.CheckConstraint(condition=models.Q(('state__in', ['active', 'ended'])), name='subscription_state_known')],
            },
        ),
        migrations.CreateModel(
            name='UsageDaily',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('day', models.DateField(help_text='UTC')),
                ('job_type', models.CharField(max_length=64)),
                ('submitted', models.BigIntegerField(db_default=0, help_text='admitted')),
                ('started', models.BigIntegerField(db_default=0, help_text='attempts that ran and ended')),
                ('succeeded', models.BigIntegerField(db_default=0)),
                ('failed', models.BigIntegerField(db_default=0, help_text='failed or timed out, for good')),
                ('cancelled', models.BigIntegerField(db_default=0)),
                ('rejected', models.BigIntegerField(db_default=0)),
                ('worker_seconds', models.FloatField(db_default=0.0, help_text='from claim to end, of attempts that ended')),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='tenancy.tenant')),
            ],
            options={
                'db_table': 'usage_daily',
                'ordering': ['-day', 'tenant_id', 'job_type'],
                'base_manager_name': 'every',
                'constraints': [models.UniqueConstraint(fields=('tenant', 'day', 'job_type'), name='usage_of_a_day_once')],
            },
            managers=[
                ('objects', django.db.models.manager.Manager()),
                ('every', django.db.models.manager.Manager()),
            ],
        ),
        ForceRowSecurity("subscriptions", operator_writes=True),
        ForceRowSecurity("usage_daily"),
    ]
