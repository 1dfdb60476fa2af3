"""The addresses of Governance's decision point."""

from django.urls import path

from apps.governance import api
from apps.tenancy.authzen import configuration

BASE = "operations/authzen/governance"

urlpatterns = [
    path(f"{BASE}/access/v1/evaluation", api.Evaluation.as_view(), name="governance-evaluation"),
    path(f"{BASE}/access/v1/evaluations", api.Evaluations.as_view(), name="governance-evaluations"),
    path(f".well-known/authzen-configuration/{BASE}", configuration, {"base": BASE}, name="governance-configuration"),
]
