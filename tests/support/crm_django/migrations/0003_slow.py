"""As long as the table `slow` says, for a test to kill it: in one transaction with what it did."""

from typing import Any

from django.db import migrations


def fill(apps: Any, schema_editor: Any) -> None:
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("UPDATE crm_customer SET region = coalesce(region, '') || 'x'")
        cursor.execute("SELECT to_regclass('slow')")
        if cursor.fetchone() != (None,):
            cursor.execute("SELECT pg_sleep(60) FROM slow")


class Migration(migrations.Migration):
    dependencies = [("crm", "0002_region")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
