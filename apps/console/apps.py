"""Django's name for the app."""

from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    """The pages that a tenant's own people read."""

    name = "apps.console"
