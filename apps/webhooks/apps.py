"""Django's name for the app."""

from django.apps import AppConfig


class WebhooksConfig(AppConfig):
    """Who outside is told of events: subscriptions, and what became of each event owed to them."""

    name = "apps.webhooks"
