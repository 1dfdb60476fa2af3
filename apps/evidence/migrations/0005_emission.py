"""How far each log was emitted stands in a row a log, and no longer in three columns of every record."""

import apps.core.database
import django.db.models.deletion
import django.db.models.manager
from django.db import migrations, models

from apps.tenancy.rls import ForceRowSecurity


class Migration(migrations.Migration):

    dependencies = [
        ('evidence', '0004_retention'),
        ('tenancy', '0003_intake'),
    ]

    operations = [
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
            ],
            options={
                'db_table': 'evidence_emissions',
                'ordering': ['-emission_id'],
                'base_manager_name': 'every',
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
            ],
            options={
                'db_table': 'evidence_outlets',
                'ordering': ['tenant_id', 'region'],
                'base_manager_name': 'every',
            },
            managers=[
                ('objects', django.db.models.manager.Manager()),
                ('every', django.db.models.manager.Manager()),
            ],
        ),
        migrations.RemoveConstraint(
            model_name='record',
            name='evidence_state_known',
        ),
        migrations.RemoveField(
            model_name='record',
            name='ref',
        ),
        migrations.RemoveField(
            model_name='record',
            name='state',
        ),
        migrations.RemoveField(
            model_name='record',
            name='tries',
        ),
        migrations.AddField(
            model_name='emission',
            name='tenant',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='tenancy.tenant'),
        ),
        migrations.AddField(
            model_name='outlet',
            name='tenant',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='tenancy.tenant'),
        ),
        migrations.AddConstraint(
            model_name='emission',
            constraint=models.UniqueConstraint(fields=('tenant', 'region', 'start'), name='evidence_emitted_once'),
        ),
        migrations.AddConstraint(
            model_name='emission',
            constraint=models.CheckConstraint(condition=models.Q(('size__gt', models.F('start')), ('start__gte', 0)), name='evidence_emission_holds_records'),
        ),
        migrations.AddConstraint(
            model_name='outlet',
            constraint=models.UniqueConstraint(fields=('tenant', 'region'), name='evidence_outlet_once'),
        ),
        migrations.AddConstraint(
            model_name='outlet',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('failing_since__isnull', True), ('tries', 0)), models.Q(('failing_since__isnull', False), ('tries__gt', 0)), _connector='OR'), name='evidence_outlet_fails_since'),
        ),
        ForceRowSecurity('evidence_emissions'),
        ForceRowSecurity('evidence_outlets'),
    ]
