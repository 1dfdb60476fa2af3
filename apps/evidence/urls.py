"""The addresses of the evidence logs, below /operations/."""

from django.urls import path

from apps.evidence import api

urlpatterns = [
    path("evidence/checkpoint", api.LastCheckpoint.as_view(), name="evidence-checkpoint"),
    path("evidence/consistency", api.Consistency.as_view(), name="evidence-consistency"),
    path("evidence/<str:record_id>", api.OneRecord.as_view(), name="evidence-record"),
]
