"""Probes as they are asked: HTTP, TCP, SQL. In the watcher's threads; each speaks to one place, within its time.

Where a probe may lead is an operator's word, the same as for jobs and webhooks: OPS_OUTBOUND of the component's tenant,
or of `*` for the platform's. A source's address with its password stands in no row: OPS_SECRETS holds it by name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any, Final

import psycopg
import structlog

from apps.core import grants, outbound
from apps.health.operations.probing import Answer, Probe

log = structlog.get_logger(__name__)

WITHIN_S: Final = 10.0
CONNECT_S: Final = 5.0
PLATFORMS = "*"
OK = range(200, 400)


class RefusedError(Exception):
    """It answered, and not well; the message is a code."""


def ask(probe: Probe) -> Answer:
    """Ask, and return what came of it, whatever that is."""
    began = time.monotonic()
    code, well = "unforeseen", False
    try:
        HOW[probe.kind](probe)
        code, well = "answers", True
    except RefusedError as error:
        code = str(error)
    except outbound.ForbiddenAddressError:
        code = "address_forbidden"
    except (outbound.BadUrlError, KeyError, TypeError, ValueError):
        code = "bad_probe"
    except outbound.UnreachableError as error:
        code = "too_slow" if error.slow else "unreachable"
    except TimeoutError:
        code = "too_slow"
    except OSError:
        code = "unreachable"
    except Exception:
        log.exception("probe_broke", component_id=str(probe.component_id))
    return Answer(well, code, (time.monotonic() - began) * 1000)


def _http(probe: Probe) -> None:
    expected = probe.asked.get("status")
    with outbound.request(
        str(probe.asked["url"]),
        method=str(probe.asked.get("method", "GET")),
        networks=_networks(probe),
        headers={"User-Agent": "Platform-Operations-Health/1"},
        connect_s=CONNECT_S,
        silent_s=WITHIN_S,
        total_s=WITHIN_S,
    ) as response:
        if response.status != expected if expected is not None else response.status not in OK:
            raise RefusedError(f"status_{response.status}")


def _tcp(probe: Probe) -> None:
    outbound.reach(
        str(probe.asked["host"]), int(probe.asked["port"]), networks=_networks(probe), connect_s=CONNECT_S
    ).close()


def _sql(probe: Probe) -> None:
    """Ask a PostgreSQL of a tenant's one question, and take any answer."""
    found = grants.file("OPS_SECRETS", "secrets.json").get(probe.tenant_id or PLATFORMS, {})
    address = found.get(str(probe.asked["source"]))
    if not isinstance(address, str):
        raise RefusedError("secret_missing")
    try:
        conninfo = psycopg.conninfo.conninfo_to_dict(address)
        where = _reached(str(conninfo.get("host", "")), int(str(conninfo.get("port", 5432))), probe=probe)
        options: Mapping[str, Any] = {**conninfo, "hostaddr": where, "connect_timeout": round(CONNECT_S)}
        with closing(psycopg.connect(**options, autocommit=True)) as session:
            session.execute(f"SET statement_timeout = {round(WITHIN_S * 1000)}".encode())
            session.execute(b"SET default_transaction_read_only = on")
            session.execute(str(probe.asked.get("query", "SELECT 1")).encode())
    except psycopg.errors.QueryCanceled as error:
        raise RefusedError("too_slow") from error
    except psycopg.OperationalError as error:
        raise RefusedError("unreachable") from error
    except psycopg.Error as error:
        raise RefusedError(f"sql_{(error.sqlstate or 'error').lower()}") from error


def _reached(host: str, port: int, *, probe: Probe) -> str:
    """Return the judged address of a host, which is then the one that is connected to."""
    with closing(outbound.reach(host, port, networks=_networks(probe), connect_s=CONNECT_S)) as reached:
        peer = reached.getpeername()
    return str(peer[0])


def _networks(probe: Probe) -> tuple[outbound.Network, ...]:
    try:
        return grants.grant(tenant_id=probe.tenant_id or PLATFORMS).networks
    except grants.BadGrantError as error:
        raise RefusedError("bad_grant") from error


HOW: Mapping[str, Callable[[Probe], None]] = {"http": _http, "tcp": _tcp, "sql": _sql}
