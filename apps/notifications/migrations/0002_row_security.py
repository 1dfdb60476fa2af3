"""The second wall around what tenants own here. What is the platform's own, its operators write."""

from django.db import migrations

from apps.tenancy.rls import ForceRowSecurity


class Migration(migrations.Migration):
    """Force row-level security."""

    dependencies = [("notifications", "0001_initial")]

    operations = [
        ForceRowSecurity("notifications", operator_writes=True),
        ForceRowSecurity("notification_signals", operator_writes=True),
        ForceRowSecurity("notification_deadlines", operator_writes=True),
        ForceRowSecurity("notification_deliveries"),
        ForceRowSecurity("notification_attempts"),
        ForceRowSecurity("inbox_items", operator_writes=True),
    ]
