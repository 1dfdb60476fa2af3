"""The second wall around what tenants own here."""

from django.db import migrations

from apps.tenancy.rls import ForceRowSecurity


class Migration(migrations.Migration):
    """Force row-level security."""

    dependencies = [("jobs", "0001_initial")]

    operations = [
        ForceRowSecurity("jobs"),
        ForceRowSecurity("attempts"),
        ForceRowSecurity("decisions"),
        ForceRowSecurity("log_chunks"),
    ]
