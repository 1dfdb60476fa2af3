"""A column, and a row for each time that it was made."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("crm", "0001_initial")]
    operations = [
        migrations.AddField("customer", "region", models.TextField(null=True)),
        migrations.RunSQL("INSERT INTO crm_customer (name) VALUES ('made')", "DELETE FROM crm_customer"),
    ]
