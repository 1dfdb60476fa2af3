"""Idempotency keys, behind the second wall."""

from django.db import migrations, models
from django.db.models import deletion

from apps.tenancy.rls import ForceRowSecurity


class Migration(migrations.Migration):

    dependencies = [("tenancy", "0002_row_security")]

    operations = [
        migrations.CreateModel(
            name="IdempotencyKey",
            fields=[
                ("key_id", models.UUIDField(primary_key=True, serialize=False)),
                ("subject", models.CharField(help_text="the calling module", max_length=128)),
                ("route", models.CharField(help_text="method and route", max_length=200)),
                ("key", models.CharField(max_length=255)),
                (
                    "digest",
                    models.CharField(
                        help_text="of address and body: another request is told from the same one", max_length=64
                    ),
                ),
                (
                    "status",
                    models.PositiveSmallIntegerField(help_text="set by the transaction that took the key", null=True),
                ),
                ("headers", models.JSONField(default=dict)),
                ("body", models.TextField(default="", help_text="the answer's exact text")),
                ("expires_at", models.DateTimeField()),
                (
                    "tenant",
                    models.ForeignKey(db_index=False, on_delete=deletion.PROTECT, to="tenancy.tenant"),
                ),
            ],
            options={
                "db_table": "idempotency_keys",
                "ordering": ["-key_id"],
                "base_manager_name": "every",
                "indexes": [models.Index(fields=["expires_at"], name="idempotency_keys_expiry")],
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "subject", "route", "key"), name="idempotency_key_once")
                ],
            },
            managers=[("objects", models.Manager()), ("every", models.Manager())],
        ),
        ForceRowSecurity("idempotency_keys"),
    ]
