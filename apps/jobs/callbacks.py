"""The way back of a call that is not answered yet: a token in an address, which only the plane can make. Pure.

It names the job and its tenant, and gives no right but one: to have the module's own, signed answer asked for now. So
it lives as long as the job, and whoever finds it in a log can at most make the plane ask a little earlier.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import NamedTuple
from uuid import UUID

PATH = "/operations/callbacks/"
# The type whose waits a callback ends, and the reason of such a wait.
JOB_TYPE = "http.call"
NOT_YET = "not_yet"

_PURPOSE = b"ops-callback-1"


class BadTokenError(ValueError):
    """A token that the plane did not make."""


class Called(NamedTuple):
    """Whom a token is about."""

    job_id: UUID
    tenant_id: str


def token(*, job_id: str, tenant_id: str, key: bytes) -> str:
    """Return a job's token, the same at each of its attempts; `key` is the one that authenticates messages."""
    named = f"{job_id}.{tenant_id}"
    return f"{named}.{_mac(named, key=key)}"


def read(text: str, *, key: bytes) -> Called:
    """Return whom a token is about; raise `BadTokenError` for what the plane did not sign."""
    named, _, mac = text.rpartition(".")
    # A forger's text need not be ASCII, which a comparison of texts asks for: that is a wrong MAC, not another error.
    if not hmac.compare_digest(mac.encode(errors="replace"), _mac(named, key=key).encode()):
        raise BadTokenError("the token is not ours")
    job_id, _, tenant_id = named.partition(".")
    return Called(UUID(job_id), tenant_id)


def _mac(named: str, *, key: bytes) -> str:
    """Return the MAC under a key of this purpose: nothing that the plane signs elsewhere reads as a token."""
    own = hmac.new(key, _PURPOSE, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(hmac.digest(own, named.encode(errors="replace"), "sha256")).decode().rstrip("=")
