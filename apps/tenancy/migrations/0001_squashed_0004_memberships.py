"""Tenants, what their users may do, and their idempotency keys: as 0001 to 0004 leave them, in one step."""

import django.core.validators
import django.db.models.deletion
import django.db.models.functions.datetime
import django.db.models.manager
from django.conf import settings
from django.db import migrations, models

from apps.tenancy.rls import ForceRowSecurity


class Migration(migrations.Migration):

    replaces = [
        ('tenancy', '0001_initial'),
        ('tenancy', '0002_row_security'),
        ('tenancy', '0003_intake'),
        ('tenancy', '0004_memberships'),
    ]

    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Tenant',
            fields=[
                ('tenant_id', models.CharField(max_length=48, primary_key=True, serialize=False, validators=[django.core.validators.RegexValidator('\\A[a-z][a-z0-9-]{1,47}\\Z', "2 to 48 of a-z, 0-9 and '-', beginning with a letter")])),
                ('name', models.CharField(max_length=200)),
                ('region', models.CharField(default='local', help_text='where its data and records must stay', max_length=32)),
                ('state', models.CharField(choices=[('active', 'active'), ('suspended', 'suspended: nothing new is admitted, what runs is stopped at its next checkpoint'), ('closed', 'closed: nothing is admitted; its records stay')], default='active', max_length=16)),
                ('storage_url', models.CharField(help_text="fsspec URL of the tenant's own storage (data path); the plane keeps only URIs into it", max_length=500)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'db_table': 'tenants',
                'ordering': ['tenant_id'],
                'constraints': [models.CheckConstraint(condition=models.Q(('state__in', ['active', 'suspended', 'closed'])), name='tenant_state_known')],
            },
        ),
        migrations.CreateModel(
            name='IdempotencyKey',
            fields=[
                ('key_id', models.UUIDField(primary_key=True, serialize=False)),
                ('subject', models.CharField(help_text='the calling module', max_length=128)),
                ('route', models.CharField(help_text='method and route', max_length=200)),
                ('key', models.CharField(max_length=255)),
                ('digest', models.CharField(help_text='of address and body: another request is told from the same one', max_length=64)),
                ('status', models.PositiveSmallIntegerField(help_text='set by the transaction that took the key', null=True)),
                ('headers', models.JSONField(default=dict)),
                ('body', models.TextField(default='', help_text="the answer's exact text")),
                ('expires_at', models.DateTimeField()),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='tenancy.tenant')),
            ],
            options={
                'db_table': 'idempotency_keys',
                'ordering': ['-key_id'],
                'base_manager_name': 'every',
                'indexes': [models.Index(fields=['expires_at'], name='idempotency_keys_expiry')],
                'constraints': [models.UniqueConstraint(fields=('tenant', 'subject', 'route', 'key'), name='idempotency_key_once')],
            },
            managers=[
                ('objects', django.db.models.manager.Manager()),
                ('every', django.db.models.manager.Manager()),
            ],
        ),
        migrations.CreateModel(
            name='Membership',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('role', models.CharField(choices=[('viewer', 'viewer: reads what the tenant runs'), ('admin', 'admin: reads, and speaks for the tenant')], default='viewer', max_length=16)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='tenancy.tenant')),
                ('user', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'db_table': 'memberships',
                'ordering': ['tenant_id', 'user_id'],
                'base_manager_name': 'every',
                'constraints': [models.UniqueConstraint(fields=('user', 'tenant'), name='membership_once'), models.CheckConstraint(condition=models.Q(('role__in', ['viewer', 'admin'])), name='membership_role_known')],
            },
            managers=[
                ('objects', django.db.models.manager.Manager()),
                ('every', django.db.models.manager.Manager()),
            ],
        ),
        ForceRowSecurity("tenants", operator_writes=True),
        ForceRowSecurity("idempotency_keys"),
        ForceRowSecurity("memberships", operator_writes=True),
    ]
