"""The log is sealed: checkpoints and tree nodes, behind the second wall as what they prove is."""

import django.db.models.deletion
import django.db.models.manager
from django.db import migrations, models

from apps.tenancy.rls import ForceRowSecurity

# Hashes do not compress, and a proof needs 32 bytes out of a row of thousands: uncompressed they are read by slices.
BY_SLICES = "ALTER TABLE evidence_nodes ALTER COLUMN hashes SET STORAGE EXTERNAL"


class Migration(migrations.Migration):

    dependencies = [
        ('evidence', '0002_row_security'),
        ('tenancy', '0003_intake'),
    ]

    operations = [
        migrations.CreateModel(
            name='Nodes',
            fields=[
                ('nodes_id', models.UUIDField(primary_key=True, serialize=False)),
                ('region', models.CharField(max_length=32)),
                ('size', models.BigIntegerField(help_text='of the checkpoint that was signed over them')),
                ('level', models.SmallIntegerField()),
                ('first', models.BigIntegerField()),
                ('hashes', models.BinaryField()),
            ],
            options={
                'verbose_name': 'row of tree nodes',
                'verbose_name_plural': 'tree nodes',
                'db_table': 'evidence_nodes',
                'ordering': ['-nodes_id'],
                'base_manager_name': 'every',
            },
            managers=[
                ('objects', django.db.models.manager.Manager()),
                ('every', django.db.models.manager.Manager()),
            ],
        ),
        migrations.CreateModel(
            name='SealedCheckpoint',
            fields=[
                ('checkpoint_id', models.UUIDField(primary_key=True, serialize=False)),
                ('region', models.CharField(max_length=32)),
                ('start', models.BigIntegerField(help_text='the size of the checkpoint before')),
                ('size', models.BigIntegerField()),
                ('root', models.BinaryField(max_length=32)),
                ('note', models.TextField(help_text='C2SP tlog-checkpoint, as it was signed')),
                ('peaks', models.BinaryField()),
                ('created_at', models.DateTimeField()),
            ],
            options={
                'verbose_name': 'checkpoint',
                'db_table': 'evidence_checkpoints',
                'ordering': ['-created_at'],
                'base_manager_name': 'every',
            },
            managers=[
                ('objects', django.db.models.manager.Manager()),
                ('every', django.db.models.manager.Manager()),
            ],
        ),
        migrations.RemoveConstraint(
            model_name='record',
            name='evidence_number_once',
        ),
        migrations.RemoveIndex(
            model_name='record',
            name='evidence_unsealed',
        ),
        migrations.AddIndex(
            model_name='record',
            index=models.Index(condition=models.Q(('number__isnull', True)), fields=['created_at', 'record_id'], name='evidence_unsealed'),
        ),
        migrations.AddConstraint(
            model_name='record',
            constraint=models.UniqueConstraint(condition=models.Q(('number__isnull', False)), fields=('tenant', 'region', 'number'), name='evidence_number_once'),
        ),
        migrations.AddField(
            model_name='nodes',
            name='tenant',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='tenancy.tenant'),
        ),
        migrations.AddField(
            model_name='sealedcheckpoint',
            name='tenant',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='tenancy.tenant'),
        ),
        migrations.AddIndex(
            model_name='nodes',
            index=models.Index(fields=['tenant', 'region', 'size'], name='evidence_nodes_of'),
        ),
        migrations.AddConstraint(
            model_name='nodes',
            constraint=models.UniqueConstraint(fields=('tenant', 'region', 'level', 'first'), name='evidence_nodes_once'),
        ),
        migrations.AddConstraint(
            model_name='sealedcheckpoint',
            constraint=models.UniqueConstraint(fields=('tenant', 'region', 'size'), name='evidence_size_once'),
        ),
        migrations.AddConstraint(
            model_name='sealedcheckpoint',
            constraint=models.CheckConstraint(condition=models.Q(('size__gt', models.F('start')), ('start__gte', 0)), name='evidence_checkpoint_grows'),
        ),
        migrations.RunSQL(BY_SLICES, migrations.RunSQL.noop),
        ForceRowSecurity("evidence_nodes"),
        ForceRowSecurity("evidence_checkpoints"),
    ]
