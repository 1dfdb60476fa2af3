"""The addresses of notifications, below /operations/."""

from django.urls import path

from apps.notifications.api import notifications, notify

urlpatterns = [
    path("notify", notify.Notify.as_view(), name="notify"),
    path("notifications", notifications.Notifications.as_view(), name="notifications"),
    path("notifications/<str:notification_id>", notifications.OneNotification.as_view(), name="notification"),
]
