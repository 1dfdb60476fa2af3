"""Admin pages of health and recovery."""

from apps.health.admin import components, recovery  # noqa: F401 - Django looks for an app's pages here
