"""What there was at 1.4."""

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    operations = [
        migrations.CreateModel(
            "Customer", [("id", models.BigAutoField(primary_key=True)), ("name", models.TextField())]
        )
    ]
