"""Who belongs to which tenant, behind the second wall; operators write it."""

from django.conf import settings
from django.db import migrations, models
from django.db.models import deletion
from django.db.models.functions import Now

from apps.tenancy.rls import ForceRowSecurity


class Migration(migrations.Migration):

    dependencies = [
        ("tenancy", "0003_intake"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Membership",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "role",
                    models.CharField(
                        choices=[
                            ("viewer", "viewer: reads what the tenant runs"),
                            ("admin", "admin: reads, and speaks for the tenant"),
                        ],
                        default="viewer",
                        max_length=16,
                    ),
                ),
                ("created_at", models.DateTimeField(db_default=Now())),
                ("tenant", models.ForeignKey(db_index=False, on_delete=deletion.PROTECT, to="tenancy.tenant")),
                (
                    "user",
                    models.ForeignKey(
                        db_index=False, on_delete=deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "db_table": "memberships",
                "ordering": ["tenant_id", "user_id"],
                "base_manager_name": "every",
                "constraints": [
                    models.UniqueConstraint(fields=("user", "tenant"), name="membership_once"),
                    models.CheckConstraint(
                        condition=models.Q(("role__in", ["viewer", "admin"])), name="membership_role_known"
                    ),
                ],
            },
            managers=[("objects", models.Manager()), ("every", models.Manager())],
        ),
        ForceRowSecurity("memberships", operator_writes=True),
    ]
