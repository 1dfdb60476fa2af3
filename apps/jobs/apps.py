"""Django's name for the app."""

from django.apps import AppConfig


class JobsConfig(AppConfig):
    """What must run, and where it stands."""

    name = "apps.jobs"
