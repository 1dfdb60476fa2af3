"""Every write of notifications, deliveries, channels and routes. `notify` is what other apps call."""

from apps.notifications.operations.intake import BadNotificationError, notify

__all__ = ["BadNotificationError", "notify"]
