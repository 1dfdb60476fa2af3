"""Jobs that depend on others, and plans: a parent and the steps it waits for."""

import django.db.models.deletion
import django.db.models.manager
from django.db import migrations, models

from apps.tenancy.rls import ForceRowSecurity

RULES = [(word, word) for word in ("all_success", "all_done", "one_success", "one_failed", "none_failed", "always")]


class Migration(migrations.Migration):

    dependencies = [("jobs", "0007_bundles"), ("tenancy", "0003_intake")]

    operations = [
        migrations.AddField(
            "job", "step", models.CharField(help_text="its name in its parent's plan", max_length=63, null=True)
        ),
        migrations.AddField(
            "job",
            "plan",
            models.JSONField(help_text="of a parent: the steps its children are made of, as compiled", null=True),
        ),
        migrations.AddField(
            "job",
            "depends_rule",
            models.CharField(choices=RULES, help_text="null = on nothing", max_length=16, null=True),
        ),
        migrations.AddField(
            "job",
            "watched",
            models.BooleanField(
                db_default=False, help_text="its end decides other jobs, and they were not told yet"
            ),
        ),
        migrations.AddIndex(
            "job",
            models.Index(
                condition=models.Q(("outcome__isnull", False), ("watched", True)), fields=["job_id"], name="jobs_news"
            ),
        ),
        migrations.AddIndex(
            "job", models.Index(condition=models.Q(("status", "blocked")), fields=["tenant"], name="jobs_blocked")
        ),
        migrations.CreateModel(
            name="Dependency",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("place", models.PositiveSmallIntegerField(
                    help_text="its place among the job's dependencies, as submitted")),
                ("settled", models.CharField(
                    choices=[(word, word) for word in ("succeeded", "failed", "skipped")], max_length=16, null=True)),
                ("job", models.ForeignKey(db_index=False, help_text="the one that waits",
                    on_delete=django.db.models.deletion.PROTECT, related_name="+", to="jobs.job")),
                ("tenant", models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT,
                    to="tenancy.tenant")),
                ("upstream", models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT,
                    related_name="+", to="jobs.job")),
            ],
            options={
                "db_table": "job_dependencies",
                "ordering": ["job_id", "place"],
                "base_manager_name": "every",
                "indexes": [models.Index(fields=["upstream"], name="dependencies_of_upstream")],
                "constraints": [
                    models.UniqueConstraint(fields=("job", "upstream"), name="dependency_once"),
                    models.CheckConstraint(
                        condition=models.Q(("job", models.F("upstream")), _negated=True), name="dependency_on_another"
                    ),
                ],
            },
            managers=[
                ("objects", django.db.models.manager.Manager()),
                ("every", django.db.models.manager.Manager()),
            ],
        ),
        ForceRowSecurity("job_dependencies"),
    ]
