"""Bundles: which dispatch a slot belongs to, how many travelled with it, and who may not travel with others."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [("jobs", "0006_intake")]

    operations = [
        migrations.AddField(
            "job",
            "bundle_id",
            models.UUIDField(help_text="the dispatch that holds the slot: an id of its own each time", null=True),
        ),
        migrations.AddField(
            "job",
            "bundle_size",
            models.PositiveSmallIntegerField(db_default=1, help_text="jobs that were sent to a worker in one message"),
        ),
        migrations.AddField(
            "job",
            "alone",
            models.BooleanField(db_default=False, help_text="was in a bundle that was lost: travels by itself from then on"),
        ),
        migrations.AddIndex("attempt", models.Index(fields=["finished_at"], name="attempts_finished")),
    ]
