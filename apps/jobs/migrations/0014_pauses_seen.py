"""A pause that is no tenant's holds everybody's jobs: everybody may read it, and nobody's token may change it."""

from django.db import migrations

EVERYBODYS_PAUSES = "CREATE POLICY everybodys ON pauses FOR SELECT TO ops_app USING (tenant_id IS NULL)"


class Migration(migrations.Migration):

    dependencies = [
        ('jobs', '0013_nudged'),
    ]

    operations = [
        migrations.RunSQL(EVERYBODYS_PAUSES, "DROP POLICY everybodys ON pauses"),
    ]
