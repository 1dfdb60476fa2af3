"""Django's name for the app."""

from django.apps import AppConfig


class EvidenceConfig(AppConfig):
    """Append-only facts about runs and refusals."""

    name = "apps.evidence"
