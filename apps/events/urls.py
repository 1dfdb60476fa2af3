"""The addresses of the event log, below /operations/."""

from django.urls import path

from apps.events import api

urlpatterns = [
    path("events", api.EventLog.as_view(), name="events"),
]
