"""Django's name for the app."""

from django.apps import AppConfig


class HealthConfig(AppConfig):
    """Components with their standing and history, and what is done about those that are not well."""

    name = "apps.health"
