"""What all webhooks' addresses have in common: how one is shown, and its secret told."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response

from apps.core import problems
from apps.webhooks.models import Webhook
from apps.webhooks.secrets import secret

TAGS = ["webhooks"]
SHOWN = (
    "tenant_id", "url", "event_types", "description", "disabled_at", "disabled_reason", "failing_since", "delivered_at",
    "left_alone_until", "previous_until", "owner", "version", "created_at",
)  # fmt: skip


def shown(row: Webhook) -> dict[str, Any]:
    """Return a webhook as it is read."""
    ids = {
        "webhook_id": str(row.webhook_id),
        "secret_id": str(row.secret_id),
        "previous_secret_id": str(row.previous_secret_id) if row.previous_secret_id else None,
    }
    return ids | {name: getattr(row, name) for name in SHOWN} | {"enabled": row.disabled_at is None}


def telling_secret(answer: HttpResponse) -> HttpResponse:
    """Return the answer with the secret it is about.

    It is added here, behind what is kept for the request's Idempotency-Key: a repeated answer tells the same secret,
    and no row holds it.
    """
    if isinstance(answer, Response):
        answer.data = _with_secret(answer.data)
    else:
        answer.content = JSONRenderer().render(_with_secret(json.loads(answer.content)))
    return answer


def _with_secret(told: dict[str, Any]) -> dict[str, Any]:
    ids = {name: UUID(told[name]) for name in ("webhook_id", "secret_id")}
    return {**told, "secret": secret(**ids)}


def disabled() -> problems.Problem:
    """Return the problem of a webhook to which nothing is sent."""
    return problems.Conflict("The webhook is disabled: enable it first.", code="webhook_disabled")
