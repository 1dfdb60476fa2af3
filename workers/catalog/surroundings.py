"""What an operator grants a tenant's jobs beyond its storage: secrets by name, and places outside they may call.

Both are files beside the plane's keys, read when a job asks and never logged; secrets may be environment variables too.
A secret's value is handed to the code that needs it and to nobody else: not to params, log, artifact or message.
"""

import ipaddress
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from apps.jobs.types import PermanentError, RetryableError

SECRET_PATTERN = "^[a-z][a-z0-9]*(_[a-z0-9]+)*$"  # noqa: S105 - a name's form
_CHECKOUT = Path(__file__).resolve().parents[2]
# One variable, one secret: without the double underscore 'a' + 'b_c' and 'a-b' + 'c' would share theirs.
_TENANT_OF_VARIABLE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class SecretMissingError(PermanentError):
    """The tenant has no secret of that name."""

    default_code = "secret_missing"


class Grant(NamedTuple):
    """Where a tenant's jobs may call: `hosts` as host, host:port or *.domain; `networks` beside the public ones."""

    hosts: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()


def secret(*, tenant_id: str, name: str) -> str:
    """Return the secret `name` of a tenant: of the file OPS_SECRETS, else OPS_SECRET_<TENANT>__<NAME>."""
    found = _file("OPS_SECRETS", "secrets.json").get(tenant_id, {}).get(name)
    if found is None and _TENANT_OF_VARIABLE.fullmatch(tenant_id):
        found = os.environ.get(f"OPS_SECRET_{tenant_id.replace('-', '_').upper()}__{name.upper()}")
    if not isinstance(found, str) or not found:
        raise SecretMissingError(f"the tenant has no secret {name!r}: an operator has to lay it")
    return found


def grant(*, tenant_id: str) -> Grant:
    """Return where a tenant's jobs may call, out of the file OPS_OUTBOUND: nowhere, unless it says so."""
    said = _file("OPS_OUTBOUND", "outbound.json").get(tenant_id, {})
    try:
        networks = tuple(ipaddress.ip_network(each) for each in said.get("networks", []))
    except ValueError as error:
        raise RetryableError("the operator's list of networks cannot be read", code="bad_grant") from error
    return Grant(tuple(str(each).lower() for each in said.get("hosts", [])), networks)


def _file(variable: str, name: str) -> Mapping[str, Any]:
    """Return a file's JSON object; nothing where there is none."""
    keys = os.environ.get("OPS_KEYS") or Path(os.environ.get("OPS_HOME") or _CHECKOUT / ".ops") / "keys"
    path = Path(os.environ.get(variable) or Path(keys) / name)
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        # Without its cause: a parser's message quotes the file.
        raise RetryableError(f"the operator's file {variable} cannot be read", code="bad_grant") from None
    return found if isinstance(found, dict) else {}
