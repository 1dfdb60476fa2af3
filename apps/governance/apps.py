"""Django's name for the app."""

from django.apps import AppConfig


class GovernanceConfig(AppConfig):
    """What may exist: contracts and policies."""

    name = "apps.governance"
