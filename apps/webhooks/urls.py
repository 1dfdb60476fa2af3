"""The addresses of webhooks, below /operations/."""

from django.urls import path

from apps.webhooks.api import deliveries, webhooks

urlpatterns = [
    path("webhooks", webhooks.Webhooks.as_view(), name="webhooks"),
    path("webhooks/<str:webhook_id>", webhooks.OneWebhook.as_view(), name="webhook"),
    path("webhooks/<str:webhook_id>/rotate-secret", webhooks.RotateSecret.as_view(), name="webhook-rotate-secret"),
    path("webhooks/<str:webhook_id>/test", webhooks.SendTest.as_view(), name="webhook-test"),
    path("webhooks/<str:webhook_id>/redeliver", deliveries.RedeliverSince.as_view(), name="webhook-redeliver"),
    path("webhooks/<str:webhook_id>/deliveries", deliveries.Deliveries.as_view(), name="webhook-deliveries"),
    path(
        "webhooks/<str:webhook_id>/deliveries/<str:delivery_id>/redeliver",
        deliveries.Redeliver.as_view(),
        name="webhook-delivery-redeliver",
    ),
]
