"""Admin pages of notifications: what was told, and what operators decide about it."""

from apps.notifications.admin import configuration, records

__all__ = ["configuration", "records"]
