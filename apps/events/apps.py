"""Django's name for the app."""

from django.apps import AppConfig


class EventsConfig(AppConfig):
    """What became true, written with the change that made it so: outbox, event log, deliveries."""

    name = "apps.events"
