"""The addresses of migrations, below /operations/."""

from django.urls import path

from apps.migrations.api import asking, commands, reading

ONE = "migrations/<str:migration_id>"

urlpatterns = [
    path("migrate", asking.Migrate.as_view(), name="migrate"),
    path("migration-definitions", reading.Definitions.as_view(), name="migration-definitions"),
    path("migrations", reading.Migrations.as_view(), name="migrations"),
    path(ONE, reading.OneMigration.as_view(), name="migration"),
    path(f"{ONE}/approve", commands.Approve.as_view(), name="migration-approve"),
    path(f"{ONE}/pause", commands.Pause.as_view(), name="migration-pause"),
    path(f"{ONE}/resume", commands.Resume.as_view(), name="migration-resume"),
    path(f"{ONE}/retry", commands.Retry.as_view(), name="migration-retry"),
    path(f"{ONE}/abort", commands.Abort.as_view(), name="migration-abort"),
    path(f"{ONE}/revert", commands.Revert.as_view(), name="migration-revert"),
]
