"""Signatures as Standard Webhooks asks (standardwebhooks.com, v1): HMAC-SHA256 over id, time and body. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

PREFIX = "whsec_"


class BadSecretError(ValueError):
    """The secret is not base64, after whsec_ or bare."""


def encoded(key: bytes) -> str:
    """Return a secret as its owner keeps it."""
    return PREFIX + base64.b64encode(key).decode()


def signed(body: bytes, *, message_id: str, secrets: Sequence[str], at: int) -> dict[str, str]:
    """Return the headers that sign `body` at the second `at`, by each secret: a receiver needs to know one of them.

    Raises `BadSecretError`.
    """
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(
            f"v1,{_signature(body, message_id=message_id, secret=each, at=at)}" for each in secrets
        ),
    }


def _signature(body: bytes, *, message_id: str, secret: str, at: int) -> str:
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise BadSecretError("a webhook's secret is base64, after whsec_ or bare") from None
    return base64.b64encode(hmac.new(key, f"{message_id}.{at}.".encode() + body, hashlib.sha256).digest()).decode()
