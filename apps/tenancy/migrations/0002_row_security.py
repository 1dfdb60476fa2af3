"""The second wall around what tenants own here."""

from django.db import migrations

from apps.tenancy.rls import ForceRowSecurity


class Migration(migrations.Migration):
    """Force row-level security."""

    dependencies = [("tenancy", "0001_initial")]

    operations = [
        ForceRowSecurity("tenants", operator_writes=True),
    ]
