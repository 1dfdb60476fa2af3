"""Whoever ends something under a key that was never open is answered along an index."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """An index of keys."""

    dependencies = [("notifications", "0002_row_security")]

    operations = [
        migrations.AddIndex(
            model_name="notification",
            index=models.Index(fields=["dedup_key", "-id"], name="notifications_key_newest"),
        ),
    ]
