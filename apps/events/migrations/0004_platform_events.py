"""What people do for the whole platform is told too: the operator's role may append events that are no tenant's."""

from django.db import migrations

WIDER = """
DROP POLICY operator ON events;
CREATE POLICY operator ON events TO ops_operator USING (true) WITH CHECK (tenant_id IS NULL);
"""
READING = """
DROP POLICY operator ON events;
CREATE POLICY operator ON events FOR SELECT TO ops_operator USING (true);
"""


class Migration(migrations.Migration):
    """The grant is in opsplatform/roles.py: inserting, never changing."""

    dependencies = [("events", "0003_stream")]

    operations = [migrations.RunSQL(WIDER, READING)]
