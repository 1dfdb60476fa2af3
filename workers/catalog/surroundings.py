"""What a tenant's jobs have beyond its storage: secrets by name, places outside they may call, and a way back.

The first two are an operator's files beside the plane's keys, read when a job asks and never logged; secrets may be
environment variables too. A secret's value is handed to the code that needs it and to nobody else: not to params, log,
artifact or message.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

from apps.core import addresses, grants
from apps.core.grants import Grant
from apps.jobs import callbacks
from apps.jobs.types import PermanentError, RetryableError

__all__ = ["SECRET_PATTERN", "Grant", "SecretMissingError", "callback", "grant", "secret"]

SECRET_PATTERN = "^[a-z][a-z0-9]*(_[a-z0-9]+)*$"  # noqa: S105 - a name's form
# One variable, one secret: without the double underscore 'a' + 'b_c' and 'a-b' + 'c' would share theirs.
_TENANT_OF_VARIABLE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class SecretMissingError(PermanentError):
    """The tenant has no secret of that name."""

    default_code = "secret_missing"


def secret(*, tenant_id: str, name: str) -> str:
    """Return the secret `name` of a tenant: of the file OPS_SECRETS, else OPS_SECRET_<TENANT>__<NAME>."""
    found = _secrets().get(tenant_id, {}).get(name)
    if found is None and _TENANT_OF_VARIABLE.fullmatch(tenant_id):
        found = os.environ.get(f"OPS_SECRET_{tenant_id.replace('-', '_').upper()}__{name.upper()}")
    if not isinstance(found, str) or not found:
        raise SecretMissingError(f"the tenant has no secret {name!r}: an operator has to lay it")
    return found


def grant(*, tenant_id: str) -> Grant:
    """Return where a tenant's jobs may call, out of the file OPS_OUTBOUND: nowhere, unless it says so."""
    try:
        return grants.grant(tenant_id=tenant_id)
    except grants.BadGrantError as error:
        raise RetryableError(str(error), code="bad_grant") from None


def callback(*, tenant_id: str, job_id: str) -> Mapping[str, str]:
    """Return what a call says of the way back to its job: `callback`, a path of the plane's, and perhaps the whole URL.

    That as `callback_url` where the operator said the plane's address (OPS_PUBLIC_URL). Nothing where there is no key
    of a plane's to sign it by: in a plain test.
    """
    try:
        key = grants.beside_keys("messages.key").read_bytes()
    except FileNotFoundError:
        return {}
    path = callbacks.PATH + callbacks.token(job_id=job_id, tenant_id=tenant_id, key=key)
    address = addresses.public_url(os.environ)
    return {"callback": path, **({"callback_url": address + path} if address else {})}


def _secrets() -> Mapping[str, Any]:
    try:
        return grants.file("OPS_SECRETS", "secrets.json")
    except grants.BadGrantError as error:
        raise RetryableError(str(error), code="bad_grant") from None
