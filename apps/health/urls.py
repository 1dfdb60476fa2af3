"""The addresses of health, below /operations/."""

from django.urls import path

from apps.health.api import health, heartbeats

urlpatterns = [
    path("health", health.Health.as_view(), name="health"),
    path("health/heartbeats", heartbeats.Heartbeats.as_view(), name="health-heartbeats"),
    path("health/<str:module>/<str:component>", health.OneComponent.as_view(), name="health-component"),
]
