"""When a callback ended a job's wait. A nullable column: no table is rewritten."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('jobs', '0012_lanes_alone'),
    ]

    operations = [
        migrations.AddField(
            model_name='job',
            name='nudged_at',
            field=models.DateTimeField(help_text="when a callback last ended a wait for its module's answer", null=True),
        ),
    ]
