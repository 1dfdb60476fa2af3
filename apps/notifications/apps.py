"""Django's name for the app."""

from django.apps import AppConfig


class NotificationsConfig(AppConfig):
    """Whom to tell, by which route, and whether they were told."""

    name = "apps.notifications"
