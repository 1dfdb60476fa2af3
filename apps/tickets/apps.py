"""The app of tickets."""

from django.apps import AppConfig


class TicketsConfig(AppConfig):
    """Work owed to a person."""

    name = "apps.tickets"
