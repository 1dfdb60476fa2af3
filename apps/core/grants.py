"""What an operator's files beside the plane's keys say, a JSON object each: read when asked, never logged.

`outbound.json` (or OPS_OUTBOUND) grants tenants places outside. Knows no framework: job types read it in a plain
pytest.
"""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from apps.core.outbound import Network

_CHECKOUT = Path(__file__).resolve().parents[2]


class BadGrantError(ValueError):
    """A file of the operator's cannot be read. Without its cause: a parser's message quotes the file."""


class Grant(NamedTuple):
    """Where a tenant's jobs may call: `hosts` as host, host:port or *.domain; `networks` beside the public ones."""

    hosts: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()


def grant(*, tenant_id: str) -> Grant:
    """Return what the file OPS_OUTBOUND grants a tenant: nothing, unless it says so. Raises `BadGrantError`."""
    said = file("OPS_OUTBOUND", "outbound.json").get(tenant_id, {})
    try:
        networks = tuple(ipaddress.ip_network(each) for each in said.get("networks", []))
        return Grant(tuple(str(each).lower() for each in said.get("hosts", [])), networks)
    except (ValueError, TypeError, AttributeError):
        raise BadGrantError("the operator's list of places outside cannot be read") from None


def file(variable: str, name: str) -> Mapping[str, Any]:
    """Return a file's JSON object; nothing where there is none. Raises `BadGrantError`."""
    path = Path(os.environ.get(variable) or beside_keys(name))
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        raise BadGrantError(f"the operator's file {variable} cannot be read") from None
    return found if isinstance(found, dict) else {}


def beside_keys(name: str) -> Path:
    """Return where a file of the folder of the plane's keys lies."""
    keys = os.environ.get("OPS_KEYS") or Path(os.environ.get("OPS_HOME") or _CHECKOUT / ".ops") / "keys"
    return Path(keys).expanduser() / name
