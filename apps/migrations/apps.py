"""The app of migrations."""

from django.apps import AppConfig


class MigrationsConfig(AppConfig):
    """Controlled rollouts."""

    name = "apps.migrations"
