from django.db import migrations, models

# Failures and successes are heard by one follower of the log now. It goes on where the one that was behind stood: what is
# heard twice changes nothing.
ONE_FOLLOWER = """
UPDATE event_consumers
   SET name = 'reaction:apps.tickets.reactions.on_job_ended',
       position = (SELECT min(position) FROM event_consumers WHERE name IN (
           'reaction:apps.tickets.reactions.on_job_failed', 'reaction:apps.tickets.reactions.on_job_completed'))
 WHERE name = 'reaction:apps.tickets.reactions.on_job_failed';
DELETE FROM event_consumers WHERE name = 'reaction:apps.tickets.reactions.on_job_completed';
"""


class Migration(migrations.Migration):

    dependencies = [
        ('events', '0005_reactions'),
        ('tickets', '0001_initial'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='ticket',
            index=models.Index(condition=models.Q(('status__in', ['acknowledged', 'in_progress', 'open', 'waiting'])), fields=['tenant', '-id'], name='tickets_tenant_open'),
        ),
        migrations.RunSQL(ONE_FOLLOWER, migrations.RunSQL.noop),
    ]
