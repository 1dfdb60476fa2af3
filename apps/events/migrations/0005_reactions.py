"""Reactions that failed for good are kept beside the log, each by its event, until somebody has them tried again."""

import django.db.models.deletion
import django.db.models.manager
from django.db import migrations, models

import apps.core.database
from apps.tenancy.rls import ForceRowSecurity


class Migration(migrations.Migration):

    dependencies = [
        ('events', '0004_platform_events'),
        ('tenancy', '0003_intake'),
    ]

    operations = [
        migrations.AlterField(
            model_name='consumer',
            name='name',
            field=models.CharField(max_length=128, primary_key=True, serialize=False),
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
            },
            managers=[
                ('objects', django.db.models.manager.Manager()),
                ('every', django.db.models.manager.Manager()),
            ],
        ),
        migrations.AddConstraint(
            model_name='failedreaction',
            constraint=models.UniqueConstraint(fields=('reaction', 'event'), name='failed_reaction_once'),
        ),
        migrations.AddIndex(
            model_name='failedreaction',
            index=models.Index(condition=models.Q(('again_at__isnull', False)), fields=['again_at'], name='failed_reactions_again'),
        ),
        ForceRowSecurity('failed_reactions', operator_writes=True),
    ]
