"""The lanes' index holds all a look asks of a job: it reads nothing but the index."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('jobs', '0011_predictions_purged'),
        ('tenancy', '0003_intake'),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name='job',
            name='jobs_lanes',
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(models.F('environment'), models.F('tenant'), models.F('type'), models.F('priority'), models.ExpressionWrapper(models.Q(('concurrency_key__isnull', False)), output_field=models.BooleanField()), models.F('queued_at'), models.F('job_id'), condition=models.Q(('status', 'queued')), include=('concurrency_key', 'alone'), name='jobs_lanes'),
        ),
    ]
