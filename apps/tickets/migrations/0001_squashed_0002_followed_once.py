"""Tickets, their log, and what is promised about them: as 0001 and 0002 leave them, in one step."""

import apps.core.database
import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.manager
from django.db import migrations, models

from apps.tenancy.rls import ForceRowSecurity

TABLES = ("tickets", "ticket_entries", "ticket_watchers", "ticket_links")

# What is no tenant's is written by people, in the operator's role; a tenant's rows are theirs to read alone.
PLATFORMS = "CREATE POLICY platforms ON {0} TO ops_operator USING (tenant_id IS NULL) WITH CHECK (tenant_id IS NULL)"
EVERYBODYS = "CREATE POLICY everybodys ON sla_policies FOR SELECT TO ops_app USING (tenant_id IS NULL)"

# No role has the right to change the log; the trigger says no to whoever has, its owner included.
APPEND_ONLY = """
CREATE FUNCTION ticket_entries_are_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'permission denied: what a ticket''s log says is never changed'
        USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER ticket_entries_are_kept BEFORE UPDATE OR DELETE ON ticket_entries
   FOR EACH ROW EXECUTE FUNCTION ticket_entries_are_kept();
"""
WRITABLE = """
DROP TRIGGER ticket_entries_are_kept ON ticket_entries;
DROP FUNCTION ticket_entries_are_kept();
"""


class Migration(migrations.Migration):

    replaces = [
        ('tickets', '0001_initial'),
        ('tickets', '0002_followed_once'),
    ]

    initial = True

    dependencies = [
        ('events', '0005_reactions'),
        ('tenancy', '0003_intake'),
    ]

    operations = [
        migrations.CreateModel(
            name='BusinessCalendar',
            fields=[
                ('name', models.SlugField(max_length=48, primary_key=True, serialize=False)),
                ('time_zone', models.CharField(default='UTC', max_length=64)),
                ('hours', models.JSONField(help_text='{"mon": [["09:00", "17:00"]], …}; 24:00 is the end of a day')),
                ('holidays', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=10), blank=True, default=list, help_text='days: 2026-12-25', size=None)),
            ],
            options={
                'db_table': 'business_calendars',
                'ordering': ['name'],
            },
        ),
        migrations.CreateModel(
            name='Team',
            fields=[
                ('name', models.SlugField(max_length=48, primary_key=True, serialize=False)),
                ('title', models.CharField(max_length=100)),
                ('members', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=128), blank=True, default=list, help_text='login names', size=None)),
            ],
            options={
                'db_table': 'ticket_teams',
                'ordering': ['name'],
            },
        ),
        migrations.CreateModel(
            name='EscalationChain',
            fields=[
                ('name', models.SlugField(max_length=48, primary_key=True, serialize=False)),
                ('steps', models.JSONField(help_text='[{"after_s": 900, "tell": ["team:batch", "operators"]}, …]')),
                ('rounds', models.PositiveSmallIntegerField(default=1, help_text='how often it goes from the first to the last step')),
            ],
            options={
                'db_table': 'escalation_chains',
                'ordering': ['name'],
                'constraints': [models.CheckConstraint(condition=models.Q(('rounds__gte', 1), ('rounds__lte', 5)), name='escalation_rounds_bounded')],
            },
        ),
        migrations.CreateModel(
            name='SlaPolicy',
            fields=[
                ('name', models.SlugField(max_length=48, primary_key=True, serialize=False)),
                ('position', models.PositiveIntegerField(default=100, help_text='lower is asked first')),
                ('module', models.CharField(blank=True, help_text='empty = every module', max_length=64, null=True)),
                ('severity', models.CharField(blank=True, help_text='empty = every severity', max_length=16, null=True)),
                ('response_s', models.PositiveIntegerField(blank=True, help_text='seconds until somebody answers for it', null=True)),
                ('resolution_s', models.PositiveIntegerField(blank=True, help_text='seconds until it is resolved', null=True)),
                ('ack_timeout_s', models.PositiveIntegerField(default=1800, help_text='seconds until an acknowledged ticket is open again, unless work began; 0 = never')),
                ('calendar', models.ForeignKey(blank=True, help_text='empty = always', null=True, on_delete=django.db.models.deletion.PROTECT, to='tickets.businesscalendar')),
                ('chain', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, to='tickets.escalationchain')),
                ('tenant', models.ForeignKey(blank=True, help_text='empty = every tenant', null=True, on_delete=django.db.models.deletion.PROTECT, to='tenancy.tenant')),
            ],
            options={
                'verbose_name': 'SLA policy',
                'verbose_name_plural': 'SLA policies',
                'db_table': 'sla_policies',
                'ordering': ['position', 'name'],
                'base_manager_name': 'every',
            },
            managers=[
                ('objects', django.db.models.manager.Manager()),
                ('every', django.db.models.manager.Manager()),
            ],
        ),
        migrations.CreateModel(
            name='Ticket',
            fields=[
                ('id', models.UUIDField(primary_key=True, serialize=False)),
                ('module', models.CharField(max_length=64)),
                ('issue', models.CharField(help_text='what is wrong, in a line', max_length=300)),
                ('description', models.TextField(blank=True, default='')),
                ('about', models.JSONField(default=dict, help_text="the failure's class, code and place: never the data")),
                ('source', models.CharField(choices=[('person', 'person'), ('module', 'module'), ('job', 'job'), ('recovery', 'recovery'), ('alert', 'alert'), ('migration', 'migration'), ('storm', 'storm')], max_length=16)),
                ('kind', models.CharField(default='', help_text="a job's type, or the sort of thing that went wrong", max_length=64)),
                ('status', models.CharField(choices=[('open', 'open'), ('acknowledged', 'acknowledged'), ('in_progress', 'in_progress'), ('waiting', 'waiting'), ('resolved', 'resolved'), ('closed', 'closed')], default='open', max_length=16)),
                ('severity', models.CharField(choices=[('info', 'info'), ('warning', 'warning'), ('error', 'error'), ('critical', 'critical')], default='error', max_length=16)),
                ('version', models.PositiveIntegerField(default=1)),
                ('fingerprint', models.CharField(help_text='alike for what is the same thing again', max_length=32, null=True)),
                ('occurrences', models.PositiveBigIntegerField(default=1)),
                ('last_seen_at', models.DateTimeField(db_default=apps.core.database.ClockTimestamp(), help_text='the last occurrence')),
                ('last_sequence', models.BigIntegerField(help_text='the last event that was counted', null=True)),
                ('first_job_id', models.UUIDField(null=True)),
                ('last_job_id', models.UUIDField(null=True)),
                ('successes', models.JSONField(default=list, help_text='runs of the job type that succeeded since the last failure')),
                ('assignee', models.CharField(max_length=128, null=True)),
                ('opened_at', models.DateTimeField(db_default=apps.core.database.ClockTimestamp())),
                ('opened_by', models.CharField(max_length=128)),
                ('resolved_at', models.DateTimeField(null=True)),
                ('closed_at', models.DateTimeField(null=True)),
                ('resolution', models.CharField(max_length=2000, null=True)),
                ('evidence_id', models.UUIDField(help_text='the record of its last resolution', null=True)),
                ('promise', models.JSONField(default=dict, help_text='the SLA policy as it was when the ticket was opened')),
                ('chain', models.JSONField(default=dict, help_text='the escalation chain as it was when the ticket was opened')),
                ('due_at', models.DateTimeField(help_text='when the clerk looks at it next; empty = not by itself', null=True)),
                ('merged_into', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tickets.ticket')),
                ('parent', models.ForeignKey(db_index=False, help_text='the storm it belongs to', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tickets.ticket')),
                ('team', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, to='tickets.team')),
                ('tenant', models.ForeignKey(db_index=False, help_text="empty = the platform's own", null=True, on_delete=django.db.models.deletion.PROTECT, to='tenancy.tenant')),
            ],
            options={
                'db_table': 'tickets',
                'ordering': ['-id'],
                'base_manager_name': 'every',
                'indexes': [models.Index(fields=['tenant', '-id'], name='tickets_tenant_newest'), models.Index(condition=models.Q(('due_at__isnull', False)), fields=['due_at'], name='tickets_due'), models.Index(condition=models.Q(('fingerprint__isnull', False)), fields=['fingerprint', '-id'], name='tickets_of_failure'), models.Index(condition=models.Q(('source', 'job'), ('status__in', ['acknowledged', 'in_progress', 'open', 'waiting'])), fields=['tenant', 'kind'], name='tickets_of_jobs'), models.Index(condition=models.Q(('status__in', ['acknowledged', 'in_progress', 'open', 'waiting'])), fields=['module', '-id'], name='tickets_open_modules'), models.Index(condition=models.Q(('merged_into__isnull', False)), fields=['merged_into'], name='tickets_merged'), models.Index(condition=models.Q(('parent__isnull', False)), fields=['parent'], name='tickets_in_storm'), models.Index(condition=models.Q(('status__in', ['acknowledged', 'in_progress', 'open', 'waiting'])), fields=['tenant', '-id'], name='tickets_tenant_open')],
                'constraints': [models.UniqueConstraint(condition=models.Q(('fingerprint__isnull', False), ('status__in', ['acknowledged', 'in_progress', 'open', 'waiting'])), fields=('fingerprint',), name='ticket_open_once'), models.CheckConstraint(condition=models.Q(('status__in', ['open', 'acknowledged', 'in_progress', 'waiting', 'resolved', 'closed'])), name='ticket_state_known'), models.CheckConstraint(condition=models.Q(('severity__in', ['info', 'warning', 'error', 'critical'])), name='ticket_severity_known'), models.CheckConstraint(condition=models.Q(('source__in', ('person', 'module', 'job', 'recovery', 'alert', 'migration', 'storm'))), name='ticket_source_known'), models.CheckConstraint(condition=models.Q(models.Q(('closed_at__isnull', False), ('status', 'closed')), models.Q(models.Q(('status', 'closed'), _negated=True), ('closed_at__isnull', True)), _connector='OR'), name='ticket_closed_at_its_end'), models.CheckConstraint(condition=models.Q(models.Q(('status', 'resolved'), _negated=True), ('resolved_at__isnull', False), _connector='OR'), name='ticket_resolved_at_some_time'), models.CheckConstraint(condition=models.Q(('merged_into__isnull', True), models.Q(('status', 'closed'), models.Q(('merged_into', models.F('id')), _negated=True)), _connector='OR'), name='ticket_merged_is_closed')],
            },
            managers=[
                ('objects', django.db.models.manager.Manager()),
                ('every', django.db.models.manager.Manager()),
            ],
        ),
        migrations.CreateModel(
            name='Link',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('tenant', 'tenant'), ('module', 'module'), ('job', 'job'), ('notification', 'notification'), ('evidence', 'evidence'), ('event', 'event'), ('migration', 'migration'), ('component', 'component')], max_length=16)),
                ('ref', models.CharField(max_length=128)),
                ('at', models.DateTimeField(db_default=apps.core.database.ClockTimestamp())),
                ('tenant', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, to='tenancy.tenant')),
                ('ticket', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='tickets.ticket')),
            ],
            options={
                'db_table': 'ticket_links',
                'ordering': ['id'],
                'base_manager_name': 'every',
                'indexes': [models.Index(fields=['kind', 'ref'], name='ticket_links_of')],
                'constraints': [models.UniqueConstraint(fields=('ticket', 'kind', 'ref'), name='ticket_link_once'), models.CheckConstraint(condition=models.Q(('kind__in', ('tenant', 'module', 'job', 'notification', 'evidence', 'event', 'migration', 'component'))), name='ticket_link_kind_known')],
            },
            managers=[
                ('objects', django.db.models.manager.Manager()),
                ('every', django.db.models.manager.Manager()),
            ],
        ),
        migrations.CreateModel(
            name='Entry',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('opened', 'opened'), ('repeated', 'repeated'), ('severity_raised', 'severity_raised'), ('acknowledged', 'acknowledged'), ('ack_expired', 'ack_expired'), ('assigned', 'assigned'), ('unassigned', 'unassigned'), ('started', 'started'), ('waiting', 'waiting'), ('commented', 'commented'), ('mentioned', 'mentioned'), ('watched', 'watched'), ('unwatched', 'unwatched'), ('linked', 'linked'), ('escalated', 'escalated'), ('escalation_ended', 'escalation_ended'), ('response_breached', 'response_breached'), ('resolution_breached', 'resolution_breached'), ('succeeded', 'succeeded'), ('resolved', 'resolved'), ('auto_resolved', 'auto_resolved'), ('closed', 'closed'), ('auto_closed', 'auto_closed'), ('reopened', 'reopened'), ('merged', 'merged'), ('unmerged', 'unmerged'), ('absorbed', 'absorbed'), ('released', 'released'), ('joined_storm', 'joined_storm'), ('storm_grew', 'storm_grew')], max_length=24)),
                ('at', models.DateTimeField(db_default=apps.core.database.ClockTimestamp())),
                ('by', models.CharField(help_text='a module, a person, or `plane`: by itself', max_length=128)),
                ('data', models.JSONField(default=dict)),
                ('tenant', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, to='tenancy.tenant')),
                ('ticket', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='tickets.ticket')),
            ],
            options={
                'verbose_name_plural': 'entries',
                'db_table': 'ticket_entries',
                'ordering': ['id'],
                'base_manager_name': 'every',
                'indexes': [models.Index(fields=['ticket', 'id'], name='ticket_entries_in_order')],
                'constraints': [models.CheckConstraint(condition=models.Q(('kind__in', ['opened', 'repeated', 'severity_raised', 'acknowledged', 'ack_expired', 'assigned', 'unassigned', 'started', 'waiting', 'commented', 'mentioned', 'watched', 'unwatched', 'linked', 'escalated', 'escalation_ended', 'response_breached', 'resolution_breached', 'succeeded', 'resolved', 'auto_resolved', 'closed', 'auto_closed', 'reopened', 'merged', 'unmerged', 'absorbed', 'released', 'joined_storm', 'storm_grew'])), name='ticket_entry_kind_known')],
            },
            managers=[
                ('objects', django.db.models.manager.Manager()),
                ('every', django.db.models.manager.Manager()),
            ],
        ),
        migrations.CreateModel(
            name='Watcher',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('person', models.CharField(max_length=128)),
                ('since', models.DateTimeField(db_default=apps.core.database.ClockTimestamp())),
                ('tenant', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, to='tenancy.tenant')),
                ('ticket', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='tickets.ticket')),
            ],
            options={
                'db_table': 'ticket_watchers',
                'ordering': ['id'],
                'base_manager_name': 'every',
                'constraints': [models.UniqueConstraint(fields=('ticket', 'person'), name='ticket_watched_once')],
            },
            managers=[
                ('objects', django.db.models.manager.Manager()),
                ('every', django.db.models.manager.Manager()),
            ],
        ),
        *(ForceRowSecurity(table) for table in TABLES),
        ForceRowSecurity("sla_policies", operator_writes=True),
        *(
            migrations.RunSQL(PLATFORMS.format(table), f"DROP POLICY platforms ON {table}") for table in TABLES
        ),
        migrations.RunSQL(EVERYBODYS, "DROP POLICY everybodys ON sla_policies"),
        migrations.RunSQL(APPEND_ONLY, WRITABLE),
    ]
