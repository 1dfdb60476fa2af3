"""Django's name for the app."""

from django.apps import AppConfig


class SubscriptionConfig(AppConfig):
    """What is permitted: plans, entitlements, limits."""

    name = "apps.subscription"
