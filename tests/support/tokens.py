"""Tokens of a plane's own key pair, made without its settings."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from joserfc import jwt
from joserfc.jwk import OKPKey


def token(
    *, home: Path, tenants: Sequence[str], scope: str, ttl_s: int = 600, subject: str = "data-acquisition"
) -> str:
    """Return a token for `tenants` and `scope`, as `manage.py issue_token` would make it."""
    key = OKPKey.import_key(json.loads((home / "keys" / "tokens.jwk").read_text()))
    now = int(time.time())
    claims = {
        "iss": "operations",
        "aud": "operations",
        "sub": subject,
        "iat": now,
        "exp": now + ttl_s,
        "jti": str(uuid.uuid4()),
        "scope": scope,
        "tenants": list(tenants),
    }
    return jwt.encode({"alg": "Ed25519", "typ": "at+jwt", "kid": key.kid}, claims, key, algorithms=["Ed25519"])
