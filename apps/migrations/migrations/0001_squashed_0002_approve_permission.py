"""Migrations of modules, their waves, targets, steps and approvals: as 0001 and 0002 leave them, in one step."""

import apps.core.database
import django.db.models.deletion
import django.db.models.manager
from django.db import migrations, models

from apps.tenancy.rls import ForceRowSecurity

TABLES = ("migrations", "migration_approvals", "migration_waves", "migration_targets", "migration_steps")


class Migration(migrations.Migration):

    replaces = [
        ('migrations', '0001_initial'),
        ('migrations', '0002_approve_permission'),
    ]

    initial = True

    dependencies = [
        ('tenancy', '0004_memberships'),
    ]

    operations = [
        migrations.CreateModel(
            name='Migration',
            fields=[
                ('id', models.UUIDField(primary_key=True, serialize=False)),
                ('name', models.CharField(help_text="the definition's", max_length=64)),
                ('module', models.CharField(max_length=64)),
                ('version_from', models.CharField(max_length=64)),
                ('version_to', models.CharField(max_length=64)),
                ('description', models.CharField(default='', max_length=500)),
                ('definition_checksum', models.CharField(max_length=80)),
                ('status', models.CharField(choices=[('draft', 'draft'), ('awaiting_approval', 'awaiting_approval'), ('running', 'running'), ('paused', 'paused'), ('inconclusive', 'inconclusive'), ('aborting', 'aborting'), ('reverting', 'reverting'), ('reverted', 'reverted'), ('succeeded', 'succeeded'), ('failed', 'failed')], default='draft', max_length=20)),
                ('reason_code', models.CharField(help_text='why it stands where it stands', max_length=64, null=True)),
                ('reason', models.CharField(max_length=500, null=True)),
                ('version', models.PositiveIntegerField(default=1)),
                ('progress', models.FloatField(default=0)),
                ('evidence_ref', models.UUIDField(help_text='the record of its last transition', null=True)),
                ('asked', models.JSONField(default=dict, help_text='targets, waves, baseline and the expected plan, as requested')),
                ('order', models.CharField(choices=[('go_on', 'go_on'), ('pass_wave', 'pass_wave'), ('retry', 'retry')], help_text='what a person asked of its waves, to be carried out', max_length=24, null=True)),
                ('dry_run', models.BooleanField(default=False)),
                ('drill', models.BooleanField(default=False)),
                ('plan', models.JSONField(null=True)),
                ('plan_checksum', models.CharField(max_length=80, null=True)),
                ('planning_tries', models.PositiveIntegerField(default=0, help_text='plans begun: a killed planner begins again')),
                ('risk', models.CharField(choices=[('low', 'low'), ('medium', 'medium'), ('high', 'high')], max_length=8, null=True)),
                ('approvals_needed', models.PositiveSmallIntegerField(default=0)),
                ('stage', models.CharField(choices=[('forward', 'forward'), ('contract', 'contract')], default='forward', max_length=8)),
                ('wave', models.PositiveIntegerField(help_text='the one under way, or the last that was', null=True)),
                ('reverting_wave', models.PositiveIntegerField(help_text='the only one that goes back; empty = all', null=True)),
                ('contract_begun_at', models.DateTimeField(null=True)),
                ('requested_by', models.CharField(max_length=128)),
                ('requested_at', models.DateTimeField(db_default=apps.core.database.ClockTimestamp())),
                ('planned_at', models.DateTimeField(null=True)),
                ('started_at', models.DateTimeField(null=True)),
                ('stopped_at', models.DateTimeField(help_text='paused or inconclusive since', null=True)),
                ('stopped_s', models.FloatField(default=0, help_text='seconds it was paused or inconclusive before')),
                ('finished_at', models.DateTimeField(null=True)),
                ('tenant', models.ForeignKey(db_index=False, help_text='on whose account it runs', on_delete=django.db.models.deletion.PROTECT, to='tenancy.tenant')),
            ],
            options={
                'db_table': 'migrations',
                'ordering': ['-id'],
                'base_manager_name': 'every',
                'permissions': [('approve_migration', "Can approve a migration's plan")],
                'indexes': [models.Index(fields=['tenant', '-id'], name='migrations_tenant_newest'), models.Index(condition=models.Q(('status__in', ['reverted', 'succeeded', 'failed']), _negated=True), fields=['id'], name='migrations_unfinished')],
                'constraints': [models.CheckConstraint(condition=models.Q(('status__in', ['draft', 'awaiting_approval', 'running', 'paused', 'inconclusive', 'aborting', 'reverting', 'reverted', 'succeeded', 'failed'])), name='migration_state_known'), models.CheckConstraint(condition=models.Q(('progress__gte', 0), ('progress__lte', 1)), name='migration_progress_a_part'), models.CheckConstraint(condition=models.Q(('status__in', ['draft', 'failed', 'aborting']), ('plan__isnull', False), _connector='OR'), name='migration_runs_by_its_plan')],
            },
            managers=[
                ('objects', django.db.models.manager.Manager()),
                ('every', django.db.models.manager.Manager()),
            ],
        ),
        migrations.CreateModel(
            name='Approval',
            fields=[
                ('approval_id', models.UUIDField(primary_key=True, serialize=False)),
                ('approver', models.CharField(max_length=128)),
                ('plan_checksum', models.CharField(max_length=80)),
                ('note', models.CharField(blank=True, default='', max_length=500)),
                ('at', models.DateTimeField(db_default=apps.core.database.ClockTimestamp())),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='tenancy.tenant')),
                ('migration', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='approvals', to='migrations.migration')),
            ],
            options={
                'db_table': 'migration_approvals',
                'ordering': ['at'],
                'base_manager_name': 'every',
                'constraints': [models.UniqueConstraint(fields=('migration', 'plan_checksum', 'approver'), name='migration_approved_once')],
            },
            managers=[
                ('objects', django.db.models.manager.Manager()),
                ('every', django.db.models.manager.Manager()),
            ],
        ),
        migrations.CreateModel(
            name='Target',
            fields=[
                ('target_id', models.UUIDField(primary_key=True, serialize=False)),
                ('module', models.CharField(max_length=64)),
                ('kind', models.CharField(choices=[('tenant', 'tenant'), ('module', 'module'), ('environment', 'environment')], max_length=12)),
                ('key', models.CharField(help_text='the tenant, module or environment', max_length=64)),
                ('wave', models.PositiveIntegerField(help_text='empty = set aside', null=True)),
                ('position', models.PositiveIntegerField(default=0)),
                ('state', models.CharField(choices=[('waiting', 'waiting'), ('set_aside', 'set_aside'), ('running', 'running'), ('verifying', 'verifying'), ('upgraded', 'upgraded'), ('failed', 'failed'), ('reverting', 'reverting'), ('verifying_back', 'verifying_back'), ('reverted', 'reverted'), ('stuck', 'stuck')], default='waiting', max_length=16)),
                ('reason_code', models.CharField(max_length=64, null=True)),
                ('reason', models.CharField(max_length=500, null=True)),
                ('differs', models.JSONField(default=list, help_text="the objects that are not as in the others' schemas")),
                ('holds', models.BooleanField(default=False)),
                ('version_before', models.CharField(max_length=64, null=True)),
                ('version_after', models.CharField(help_text='as read back', max_length=64, null=True)),
                ('digest_before', models.CharField(max_length=80, null=True)),
                ('digest_after', models.CharField(max_length=80, null=True)),
                ('started_at', models.DateTimeField(null=True)),
                ('finished_at', models.DateTimeField(null=True)),
                ('migration', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='targets', to='migrations.migration')),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='tenancy.tenant')),
            ],
            options={
                'db_table': 'migration_targets',
                'ordering': ['wave', 'position'],
                'base_manager_name': 'every',
                'indexes': [models.Index(fields=['migration', 'wave', 'position'], name='migration_targets_in_order'), models.Index(fields=['tenant', '-target_id'], name='migration_targets_tenant')],
                'constraints': [models.UniqueConstraint(fields=('migration', 'key'), name='migration_target_once'), models.UniqueConstraint(condition=models.Q(('holds', True)), fields=('module', 'kind', 'key'), name='migration_target_held_once'), models.CheckConstraint(condition=models.Q(('state__in', ['waiting', 'set_aside', 'running', 'verifying', 'upgraded', 'failed', 'reverting', 'verifying_back', 'reverted', 'stuck'])), name='migration_target_state_known')],
            },
            managers=[
                ('objects', django.db.models.manager.Manager()),
                ('every', django.db.models.manager.Manager()),
            ],
        ),
        migrations.CreateModel(
            name='Step',
            fields=[
                ('step_id', models.UUIDField(primary_key=True, serialize=False)),
                ('number', models.PositiveIntegerField()),
                ('name', models.CharField(max_length=64)),
                ('phase', models.CharField(choices=[('expand', 'expand'), ('backfill', 'backfill'), ('verify', 'verify'), ('contract', 'contract')], max_length=8)),
                ('kind', models.CharField(choices=[('sql', 'sql'), ('python', 'python'), ('job', 'job'), ('module', 'module'), ('django', 'django')], max_length=8)),
                ('checksum', models.CharField(max_length=80)),
                ('undoes', models.BooleanField(default=True, help_text='there is something to take back')),
                ('state', models.CharField(choices=[('pending', 'pending'), ('running', 'running'), ('stopping', 'stopping'), ('done', 'done'), ('failed', 'failed'), ('reverted', 'reverted')], default='pending', max_length=8)),
                ('direction', models.CharField(choices=[('up', 'up'), ('down', 'down')], default='up', max_length=4)),
                ('run', models.PositiveIntegerField(default=0)),
                ('job_id', models.UUIDField(help_text='the newest one', null=True)),
                ('not_before', models.DateTimeField(help_text='a limit refused its job until then', null=True)),
                ('cursor', models.CharField(help_text='how far a backfill came, in its own key', max_length=200, null=True)),
                ('done', models.BigIntegerField(null=True)),
                ('total', models.BigIntegerField(null=True)),
                ('mark_at', models.DateTimeField(help_text='when it last came as far as its rate has to bring it', null=True)),
                ('mark_done', models.BigIntegerField(default=0)),
                ('error_code', models.CharField(max_length=64, null=True)),
                ('error', models.CharField(max_length=500, null=True)),
                ('started_at', models.DateTimeField(null=True)),
                ('finished_at', models.DateTimeField(null=True)),
                ('migration', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='steps', to='migrations.migration')),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='tenancy.tenant')),
                ('target', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='steps', to='migrations.target')),
            ],
            options={
                'db_table': 'migration_steps',
                'ordering': ['number'],
                'base_manager_name': 'every',
                'indexes': [models.Index(fields=['migration', 'state'], name='migration_steps_of'), models.Index(condition=models.Q(('job_id__isnull', False)), fields=['job_id'], name='migration_steps_job')],
                'constraints': [models.UniqueConstraint(fields=('target', 'number'), name='migration_step_once'), models.CheckConstraint(condition=models.Q(('state__in', ['pending', 'running', 'stopping', 'done', 'failed', 'reverted'])), name='migration_step_state_known'), models.CheckConstraint(condition=models.Q(('direction__in', ('up', 'down'))), name='migration_step_direction_known')],
            },
            managers=[
                ('objects', django.db.models.manager.Manager()),
                ('every', django.db.models.manager.Manager()),
            ],
        ),
        migrations.CreateModel(
            name='Wave',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField()),
                ('state', models.CharField(choices=[('waiting', 'waiting'), ('held', 'held'), ('running', 'running'), ('baking', 'baking'), ('passed', 'passed'), ('failed', 'failed'), ('reverted', 'reverted')], default='waiting', max_length=12)),
                ('drill', models.CharField(choices=[('none', 'none'), ('up', 'up'), ('down', 'down'), ('again', 'again'), ('done', 'done')], default='none', max_length=8)),
                ('verdict', models.CharField(choices=[('succeed', 'succeed'), ('fail', 'fail'), ('inconclusive', 'inconclusive')], max_length=12, null=True)),
                ('facts', models.JSONField(default=dict)),
                ('started_at', models.DateTimeField(null=True)),
                ('baking_since', models.DateTimeField(null=True)),
                ('held_since', models.DateTimeField(null=True)),
                ('finished_at', models.DateTimeField(null=True)),
                ('migration', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='waves', to='migrations.migration')),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='tenancy.tenant')),
            ],
            options={
                'db_table': 'migration_waves',
                'ordering': ['number'],
                'base_manager_name': 'every',
                'constraints': [models.UniqueConstraint(fields=('migration', 'number'), name='migration_wave_once'), models.CheckConstraint(condition=models.Q(('state__in', ['waiting', 'held', 'running', 'baking', 'passed', 'failed', 'reverted'])), name='migration_wave_state_known')],
            },
            managers=[
                ('objects', django.db.models.manager.Manager()),
                ('every', django.db.models.manager.Manager()),
            ],
        ),
        *(ForceRowSecurity(table) for table in TABLES),
    ]
