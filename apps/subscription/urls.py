"""The addresses of Subscription's decision point."""

from django.urls import path

from apps.subscription import api
from apps.tenancy.authzen import configuration

BASE = "operations/authzen/subscription"

urlpatterns = [
    path("operations/usage", api.Usage.as_view(), name="usage"),
    path(f"{BASE}/access/v1/evaluation", api.Evaluation.as_view(), name="subscription-evaluation"),
    path(f"{BASE}/access/v1/evaluations", api.Evaluations.as_view(), name="subscription-evaluations"),
    path(f".well-known/authzen-configuration/{BASE}", configuration, {"base": BASE}, name="subscription-configuration"),
]
