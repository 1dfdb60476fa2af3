"""Django's name for the app."""

from django.apps import AppConfig


class SchedulesConfig(AppConfig):
    """Jobs by the clock and by events."""

    name = "apps.schedules"
