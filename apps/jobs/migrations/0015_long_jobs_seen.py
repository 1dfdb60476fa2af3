"""What holds worker processes is noted: which types do not, and when the first process may come free."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('jobs', '0014_pauses_seen'),
    ]

    operations = [
        migrations.AddField(
            model_name='poolload',
            name='short_types',
            field=models.JSONField(help_text='types whose jobs travel together; empty = not noted', null=True),
        ),
        migrations.AddField(
            model_name='poolload',
            name='worker_in_s',
            field=models.FloatField(help_text='until the first long job ends, about; empty = none runs', null=True),
        ),
    ]
