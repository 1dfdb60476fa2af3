"""What cannot be done, and cannot be undone."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("crm", "0003_slow")]
    operations = [migrations.RunSQL("SELECT name::int FROM crm_customer")]
