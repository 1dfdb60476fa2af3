"""Jobs, and all that makes them run: as 0001 to 0016 leave them, in one step."""

import apps.core.database
import apps.jobs.lifecycle
import django.contrib.postgres.fields
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
# A pause that is no tenant's holds everybody's jobs: everybody may read it, and nobody's token may change it.
EVERYBODYS_PAUSES = "CREATE POLICY everybodys ON pauses FOR SELECT TO ops_app USING (tenant_id IS NULL)"


class Migration(migrations.Migration):

    replaces = [
        ('jobs', '0001_initial'),
        ('jobs', '0002_row_security'),
        ('jobs', '0003_status_fits_outcome'),
        ('jobs', '0004_stream'),
        ('jobs', '0005_control'),
        ('jobs', '0006_intake'),
        ('jobs', '0007_bundles'),
        ('jobs', '0008_dependencies'),
        ('jobs', '0009_selection'),
        ('jobs', '0010_pauses'),
        ('jobs', '0011_predictions_purged'),
        ('jobs', '0012_lanes_alone'),
        ('jobs', '0013_nudged'),
        ('jobs', '0014_pauses_seen'),
        ('jobs', '0015_long_jobs_seen'),
        ('jobs', '0016_versions_of_workers'),
    ]

    initial = True

    dependencies = [
        ('tenancy', '0003_intake'),
    ]

    operations = [
        migrations.CreateModel(
            name='Environment',
            fields=[
                ('name', models.SlugField(max_length=48, primary_key=True, serialize=False)),
                ('region', models.CharField(default='local', max_length=32)),
                ('queue', models.CharField(help_text='the Celery queue its workers consume', max_length=64, unique=True)),
                ('slots', models.PositiveIntegerField(default=4, help_text='jobs dispatched or running at any instant, at most')),
                ('reserved_slots', models.PositiveIntegerField(default=0, help_text='kept from a tenant that already holds one, so that its long jobs cannot take the last')),
                ('allowed_tenants', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=48), blank=True, help_text='empty = every one', null=True, size=None)),
                ('paused_until', models.DateTimeField(blank=True, null=True)),
                ('pause_reason', models.CharField(blank=True, max_length=200, null=True)),
            ],
            options={
                'db_table': 'environments',
                'ordering': ['name'],
                'constraints': [models.CheckConstraint(condition=models.Q(('slots__gte', models.F('reserved_slots'))), name='environment_reserve_fits')],
            },
        ),
        migrations.CreateModel(
            name='Process',
            fields=[
                ('process_id', models.UUIDField(primary_key=True, serialize=False)),
                ('role', models.CharField(max_length=32)),
                ('name', models.CharField(max_length=64)),
                ('host', models.CharField(max_length=255)),
                ('pid', models.IntegerField()),
                ('environment', models.CharField(help_text="a worker's pool", max_length=48, null=True)),
                ('capacity', models.PositiveIntegerField(default=0, help_text='jobs a worker runs at once')),
                ('state', models.CharField(choices=[('live', 'live'), ('draining', 'draining'), ('gone', 'gone')], default='live', max_length=16)),
                ('started_at', models.DateTimeField(db_default=apps.core.database.ClockTimestamp())),
                ('beat_at', models.DateTimeField(db_default=apps.core.database.ClockTimestamp())),
                ('lease_until', models.DateTimeField()),
                ('versions', models.JSONField(default=dict, help_text='of the modules whose job types it runs, as they call themselves')),
            ],
            options={
                'verbose_name_plural': 'processes',
                'db_table': 'processes',
                'ordering': ['role', 'name'],
                'indexes': [models.Index(condition=models.Q(('state', 'gone'), _negated=True), fields=['lease_until'], name='processes_lease')],
            },
        ),
        migrations.CreateModel(
            name='Attempt',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('job_id', models.UUIDField()),
                ('fence', models.BigIntegerField()),
                ('number', models.PositiveSmallIntegerField(help_text='1-based; 0 = never claimed')),
                ('ending', models.CharField(choices=[('succeeded', 'succeeded'), ('failed', 'failed'), ('timed_out', 'timed_out'), ('cancelled', 'cancelled'), ('worker_lost', 'worker_lost'), ('unclaimed', 'unclaimed'), ('unpublished', 'unpublished'), ('handed_back', 'handed_back'), ('expired', 'expired')], max_length=16)),
                ('worker_id', models.UUIDField(null=True)),
                ('worker_pid', models.IntegerField(null=True)),
                ('dispatched_at', models.DateTimeField(null=True)),
                ('started_at', models.DateTimeField(null=True)),
                ('finished_at', models.DateTimeField(db_default=apps.core.database.ClockTimestamp())),
                ('retry_at', models.DateTimeField(null=True)),
                ('error', models.JSONField(null=True)),
                ('result', models.JSONField(null=True)),
                ('log_lines', models.PositiveIntegerField(default=0)),
                ('log_digest', models.CharField(max_length=71, null=True)),
                ('late_ending', models.CharField(help_text='what its holder reported after it was fenced off', max_length=16, null=True)),
                ('late_at', models.DateTimeField(null=True)),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='tenancy.tenant')),
                ('noticed_by', models.CharField(help_text='who saw the end: worker (itself), parent (of its processes), sweeper, scheduler', max_length=16, null=True)),
                ('forced', models.BooleanField(db_default=False, help_text='ended over the head of its process, which its worker kills if it still runs')),
            ],
            options={
                'db_table': 'attempts',
                'ordering': ['-id'],
                'base_manager_name': 'every',
                'indexes': [models.Index(fields=['finished_at'], name='attempts_finished')],
                'constraints': [models.UniqueConstraint(fields=('job_id', 'fence'), name='attempt_fence_once'), models.UniqueConstraint(condition=models.Q(('ending', 'succeeded')), fields=('job_id',), name='attempt_success_once')],
            },
            managers=[
                ('objects', django.db.models.manager.Manager()),
                ('every', django.db.models.manager.Manager()),
            ],
        ),
        migrations.CreateModel(
            name='Decision',
            fields=[
                ('decision_id', models.UUIDField()),
                ('job_id', models.UUIDField()),
                ('point', models.CharField(choices=[('governance', 'governance'), ('subscription', 'subscription')], max_length=16)),
                ('action', models.CharField(max_length=32)),
                ('allowed', models.BooleanField()),
                ('reason_code', models.CharField(max_length=64)),
                ('reason', models.CharField(default='', max_length=500)),
                ('policy_revision', models.CharField(max_length=100)),
                ('context', models.JSONField(default=dict, help_text='limits, obligations, max_age_s, stale_if_error_s as answered')),
                ('decided_at', models.DateTimeField(db_default=apps.core.database.ClockTimestamp())),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='tenancy.tenant')),
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
            ],
            options={
                'db_table': 'decisions',
                'ordering': ['-decision_id'],
                'base_manager_name': 'every',
                'constraints': [models.UniqueConstraint(fields=('job_id', 'decision_id'), name='decision_of_job_once')],
            },
            managers=[
                ('objects', django.db.models.manager.Manager()),
                ('every', django.db.models.manager.Manager()),
            ],
        ),
        migrations.CreateModel(
            name='Job',
            fields=[
                ('job_id', models.UUIDField(primary_key=True, serialize=False)),
                ('type', models.CharField(max_length=64)),
                ('status', models.CharField(choices=[('scheduled', 'scheduled'), ('blocked', 'blocked'), ('queued', 'queued'), ('deferred', 'deferred'), ('dispatched', 'dispatched'), ('running', 'running'), ('retrying', 'retrying'), ('waiting_children', 'waiting_children'), ('succeeded', 'succeeded'), ('failed', 'failed'), ('cancelled', 'cancelled'), ('timed_out', 'timed_out'), ('rejected', 'rejected'), ('pending_audit', 'pending_audit')], max_length=20)),
                ('outcome', models.CharField(choices=[('cancelled', 'cancelled'), ('failed', 'failed'), ('rejected', 'rejected'), ('succeeded', 'succeeded'), ('timed_out', 'timed_out')], max_length=20, null=True)),
                ('reason_code', models.CharField(max_length=64, null=True)),
                ('priority', models.SmallIntegerField(choices=[(0, 'critical'), (1, 'high'), (2, 'normal'), (3, 'low'), (4, 'bulk')], default=apps.jobs.lifecycle.Priority['NORMAL'])),
                ('region', models.CharField(max_length=32)),
                ('contract', models.CharField(max_length=120, null=True)),
                ('contract_digest', models.CharField(max_length=71, null=True)),
                ('params', models.JSONField(default=dict)),
                ('params_digest', models.CharField(max_length=71)),
                ('trigger', models.CharField(default='user', max_length=16)),
                ('submitted_by', models.CharField(help_text='the calling module or person', max_length=128)),
                ('concurrency_key', models.CharField(max_length=128, null=True)),
                ('timeout_s', models.PositiveIntegerField()),
                ('max_attempts', models.PositiveSmallIntegerField()),
                ('obligations', models.JSONField(default=dict, help_text='what the decisions oblige to: region, retention, redaction')),
                ('attempt', models.PositiveSmallIntegerField(default=0, help_text='claimed attempts so far')),
                ('retries', models.PositiveSmallIntegerField(default=0, help_text='attempts after the first')),
                ('fence', models.BigIntegerField(default=0, help_text='grows with each dispatch; only its holder may write')),
                ('worker_id', models.UUIDField(null=True)),
                ('worker_pid', models.IntegerField(null=True)),
                ('run_at', models.DateTimeField(null=True)),
                ('due_at', models.DateTimeField(help_text='when a waiting job is looked at again', null=True)),
                ('submitted_at', models.DateTimeField(db_default=apps.core.database.ClockTimestamp())),
                ('queued_at', models.DateTimeField(null=True)),
                ('dispatched_at', models.DateTimeField(null=True)),
                ('started_at', models.DateTimeField(null=True)),
                ('finished_at', models.DateTimeField(null=True)),
                ('cancel_requested_at', models.DateTimeField(null=True)),
                ('unclaimed', models.PositiveSmallIntegerField(default=0, help_text='dispatches in a row that nobody claimed')),
                ('progress', models.JSONField(null=True)),
                ('result', models.JSONField(help_text='artifacts (URI, digest, counts) and metrics of the last attempt', null=True)),
                ('error', models.JSONField(help_text='class, code, fingerprint, place: never the data', null=True)),
                ('evidence_id', models.UUIDField(help_text="the outcome's evidence record", null=True)),
                ('environment', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='jobs.environment')),
                ('parent', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, to='jobs.job')),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='tenancy.tenant')),
                ('cancel_grace_s', models.FloatField(db_default=10, help_text='seconds from a cancel until the process is killed')),
                ('cancel_reason', models.CharField(max_length=200, null=True)),
                ('cancel_requested_by', models.CharField(max_length=128, null=True)),
                ('deadline_at', models.DateTimeField(null=True)),
                ('deadline_s', models.PositiveIntegerField(help_text='seconds after submission to be over within', null=True)),
                ('heard_at', models.DateTimeField(help_text="the running attempt's last word", null=True)),
                ('heartbeat_s', models.FloatField(help_text='seconds an attempt may be silent', null=True)),
                ('retry', models.JSONField(help_text="the job's own retry policy, whole; null = its type's", null=True)),
                ('start_by', models.DateTimeField(help_text='null once it has started', null=True)),
                ('start_by_s', models.PositiveIntegerField(help_text='seconds after submission to have started within', null=True)),
                ('bundle_id', models.UUIDField(help_text='the dispatch that holds the slot: an id of its own each time', null=True)),
                ('bundle_size', models.PositiveSmallIntegerField(db_default=1, help_text='jobs that were sent to a worker in one message')),
                ('alone', models.BooleanField(db_default=False, help_text='was in a bundle that was lost: travels by itself from then on')),
                ('step', models.CharField(help_text="its name in its parent's plan", max_length=63, null=True)),
                ('plan', models.JSONField(help_text='of a parent: the steps its children are made of, as compiled', null=True)),
                ('depends_rule', models.CharField(choices=[('all_success', 'all_success'), ('all_done', 'all_done'), ('one_success', 'one_success'), ('one_failed', 'one_failed'), ('none_failed', 'none_failed'), ('always', 'always')], help_text='null = on nothing', max_length=16, null=True)),
                ('watched', models.BooleanField(db_default=False, help_text='its end decides other jobs, and they were not told yet')),
                ('nudged_at', models.DateTimeField(help_text="when a callback last ended a wait for its module's answer", null=True)),
            ],
            options={
                'db_table': 'jobs',
                'ordering': ['-job_id'],
                'base_manager_name': 'every',
                'indexes': [models.Index(fields=['tenant', '-job_id'], name='jobs_tenant_newest'), models.Index(condition=models.Q(('status__in', ['dispatched', 'running'])), fields=['environment', 'tenant'], name='jobs_holding_slot'), models.Index(condition=models.Q(('status__in', ['scheduled', 'retrying'])), fields=['due_at'], name='jobs_due'), models.Index(fields=['tenant', 'submitted_at'], name='jobs_tenant_day'), models.Index(condition=models.Q(('outcome__isnull', True), ('start_by__isnull', False)), fields=['start_by'], name='jobs_start_by'), models.Index(condition=models.Q(('deadline_at__isnull', False), ('outcome__isnull', True)), fields=['deadline_at'], name='jobs_deadline'), models.Index(condition=models.Q(('status', 'deferred')), fields=['priority', 'submitted_at', 'job_id'], name='jobs_deferred'), models.Index(condition=models.Q(('outcome__in', ['cancelled', 'failed', 'rejected', 'timed_out'])), fields=['tenant', 'outcome', '-job_id'], name='jobs_not_succeeded'), models.Index(condition=models.Q(('concurrency_key__isnull', False)), fields=['tenant', 'concurrency_key', '-job_id'], name='jobs_by_key'), models.Index(condition=models.Q(('parent__isnull', False)), fields=['parent', '-job_id'], name='jobs_children'), models.Index(condition=models.Q(('outcome__isnull', False), ('watched', True)), fields=['job_id'], name='jobs_news'), models.Index(condition=models.Q(('status', 'blocked')), fields=['tenant'], name='jobs_blocked'), models.Index(condition=models.Q(('concurrency_key__isnull', False), ('status', 'queued')), fields=['environment', 'tenant', 'type', 'concurrency_key', 'priority', 'queued_at', 'job_id'], name='jobs_lane_keys'), models.Index(models.F('environment'), models.F('tenant'), models.F('type'), models.F('priority'), models.ExpressionWrapper(models.Q(('concurrency_key__isnull', False)), output_field=models.BooleanField()), models.F('queued_at'), models.F('job_id'), condition=models.Q(('status', 'queued')), include=('concurrency_key', 'alone'), name='jobs_lanes')],
                'constraints': [models.CheckConstraint(condition=models.Q(('status__in', ['scheduled', 'blocked', 'queued', 'deferred', 'dispatched', 'running', 'retrying', 'waiting_children', 'succeeded', 'failed', 'cancelled', 'timed_out', 'rejected', 'pending_audit'])), name='job_state_known'), models.CheckConstraint(condition=models.Q(('outcome__isnull', True), ('outcome__in', ['cancelled', 'failed', 'rejected', 'succeeded', 'timed_out']), _connector='OR'), name='job_outcome_known'), models.CheckConstraint(condition=models.Q(models.Q(('finished_at__isnull', True), ('outcome__isnull', True)), models.Q(('evidence_id__isnull', False), ('finished_at__isnull', False), ('outcome__isnull', False)), _connector='OR'), name='job_end_is_whole'), models.CheckConstraint(condition=models.Q(models.Q(('status', 'running'), _negated=True), ('worker_id__isnull', False), _connector='OR'), name='job_running_is_leased'), models.CheckConstraint(condition=models.Q(models.Q(('outcome__isnull', False), ('status', models.F('outcome')), ('status__in', ['cancelled', 'failed', 'rejected', 'succeeded', 'timed_out'])), models.Q(('outcome__isnull', False), ('status', 'pending_audit')), models.Q(models.Q(('status__in', ['cancelled', 'failed', 'rejected', 'succeeded', 'timed_out', 'pending_audit']), _negated=True), ('outcome__isnull', True)), _connector='OR'), name='job_status_fits_outcome')],
            },
            managers=[
                ('objects', django.db.models.manager.Manager()),
                ('every', django.db.models.manager.Manager()),
            ],
        ),
        migrations.CreateModel(
            name='LogChunk',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('job_id', models.UUIDField()),
                ('fence', models.BigIntegerField()),
                ('first_line', models.PositiveIntegerField()),
                ('lines', models.JSONField()),
                ('written_at', models.DateTimeField(db_default=apps.core.database.ClockTimestamp())),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='tenancy.tenant')),
            ],
            options={
                'db_table': 'log_chunks',
                'ordering': ['id'],
                'base_manager_name': 'every',
                'constraints': [models.UniqueConstraint(fields=('job_id', 'fence', 'first_line'), name='log_chunk_once')],
            },
            managers=[
                ('objects', django.db.models.manager.Manager()),
                ('every', django.db.models.manager.Manager()),
            ],
        ),
        migrations.CreateModel(
            name='Breaker',
            fields=[
                ('name', models.CharField(max_length=32, primary_key=True, serialize=False)),
                ('opened_at', models.DateTimeField(help_text='since when it is away; empty = it is there', null=True)),
                ('reason', models.CharField(default='', help_text='the kind of error that told so', max_length=64)),
                ('changed_at', models.DateTimeField(db_default=apps.core.database.ClockTimestamp())),
            ],
            options={
                'db_table': 'breakers',
                'ordering': ['name'],
            },
        ),
        migrations.CreateModel(
            name='Dependency',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('place', models.PositiveSmallIntegerField(help_text="its place among the job's dependencies, as submitted")),
                ('settled', models.CharField(choices=[('succeeded', 'succeeded'), ('failed', 'failed'), ('skipped', 'skipped')], max_length=16, null=True)),
                ('job', models.ForeignKey(db_index=False, help_text='the one that waits', on_delete=django.db.models.deletion.PROTECT, related_name='+', to='jobs.job')),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='tenancy.tenant')),
                ('upstream', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='jobs.job')),
            ],
            options={
                'db_table': 'job_dependencies',
                'ordering': ['job_id', 'place'],
                'base_manager_name': 'every',
                'indexes': [models.Index(fields=['upstream'], name='dependencies_of_upstream')],
                'constraints': [models.UniqueConstraint(fields=('job', 'upstream'), name='dependency_once'), models.CheckConstraint(condition=models.Q(('job', models.F('upstream')), _negated=True), name='dependency_on_another')],
            },
            managers=[
                ('objects', django.db.models.manager.Manager()),
                ('every', django.db.models.manager.Manager()),
            ],
        ),
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
                'indexes': [models.Index(fields=['ended_at'], name='gate_intervals_ended'), models.Index(condition=models.Q(('ended_at__isnull', True)), fields=['gate'], name='gate_intervals_open')],
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
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='tenancy.tenant')),
            ],
            options={
                'db_table': 'start_predictions',
                'base_manager_name': 'every',
                'indexes': [models.Index(fields=['tenant', '-predicted_at'], name='start_predictions_newest'), models.Index(fields=['predicted_at'], name='start_predictions_oldest')],
            },
            managers=[
                ('objects', django.db.models.manager.Manager()),
                ('every', django.db.models.manager.Manager()),
            ],
        ),
        migrations.CreateModel(
            name='PoolLoad',
            fields=[
                ('environment', models.CharField(max_length=48, primary_key=True, serialize=False)),
                ('by_type', models.JSONField(default=dict, help_text='leases by job type')),
                ('children', models.PositiveIntegerField(help_text='worker processes that serve it')),
                ('waiting_weight', models.FloatField(help_text='of the tenants that wait, together')),
                ('seen_at', models.DateTimeField(db_default=apps.core.database.ClockTimestamp())),
                ('short_types', models.JSONField(help_text='types whose jobs travel together; empty = not noted', null=True)),
                ('worker_in_s', models.FloatField(help_text='until the first long job ends, about; empty = none runs', null=True)),
            ],
            options={
                'db_table': 'pool_loads',
            },
        ),
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
        ForceRowSecurity("jobs"),
        ForceRowSecurity("attempts"),
        ForceRowSecurity("decisions"),
        ForceRowSecurity("log_chunks"),
        ForceRowSecurity("job_dependencies"),
        ForceRowSecurity("gate_intervals"),
        ForceRowSecurity("start_predictions"),
        ForceRowSecurity("pauses", operator_writes=True),
        migrations.RunSQL(EVERYBODYS_GATES, migrations.RunSQL.noop),
        migrations.RunSQL(EVERYBODYS_PAUSES, "DROP POLICY everybodys ON pauses"),
    ]
