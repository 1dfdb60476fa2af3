"""Who noticed an attempt's end: for its story."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Add `attempts.noticed_by`."""

    dependencies = [("jobs", "0003_status_fits_outcome")]

    operations = [
        migrations.AddField(
            "attempt",
            "noticed_by",
            models.CharField(
                max_length=16,
                null=True,
                help_text="who saw the end: worker (itself), parent (of its processes), sweeper, scheduler",
            ),
        ),
    ]
