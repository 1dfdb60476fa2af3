"""The second wall around what tenants own here."""

from django.db import migrations

from apps.tenancy.rls import ForceRowSecurity


class Migration(migrations.Migration):
    """Force row-level security."""

    dependencies = [("events", "0001_initial")]

    operations = [
        ForceRowSecurity("events"),
    ]
