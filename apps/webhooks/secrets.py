"""The secrets that sign: made from the plane's key whenever one is needed, and kept in no row.

Who reads the whole database, a copy of it or an answer kept for an Idempotency-Key finds no secret of any webhook.
"""

from __future__ import annotations

import hashlib
import hmac
from uuid import UUID

from apps.core import standard_webhooks
from apps.tenancy import keys


def secret(*, webhook_id: UUID, secret_id: UUID) -> str:
    """Return a webhook's secret as its receiver keeps it (whsec_…); raises what `keys.webhook_key` raises."""
    text = f"ops-webhook-secret-1\n{webhook_id}\n{secret_id}"
    return standard_webhooks.encoded(hmac.new(keys.webhook_key(), text.encode(), hashlib.sha256).digest())
