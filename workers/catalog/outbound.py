"""Calls to the world outside, on a tenant's behalf: only where an operator allowed it, and never inside by a trick.

The name is resolved here, each address is judged, and the connection goes to the very address that was judged: a name
that answers differently the second time leads nowhere. No redirect is followed, no proxy is asked.
"""

import http.client
import ipaddress
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import NoReturn
from urllib.parse import SplitResult, urlsplit

from apps.jobs.types import PermanentError, RetryableError
from workers.catalog.surroundings import Grant

CONNECT_S = 10.0
SILENT_S = 30.0  # between two bytes
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
MOST_PAUSE_S = 86_400.0
URL = {
    "type": "string",
    "pattern": "^https?://[A-Za-z0-9.:_-]+(/[!-~]*)?$",
    "maxLength": 2000,
    "description": "An http or https address of a host that the tenant's jobs may call, with no password in it.",
}


class ForbiddenAddressError(PermanentError):
    """A place that the tenant's jobs may not call."""

    default_code = "outbound_forbidden"


@contextmanager
def request(
    url: str, *, grant: Grant, method: str = "GET", body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Iterator[http.client.HTTPResponse]:
    """Send a request and yield its response, of whatever status but a redirect.

    Raises ForbiddenAddressError, PermanentError on a redirect, RetryableError where nobody answers.
    """
    parts = urlsplit(url)
    try:
        connected = _connect(parts, grant=grant)
    except OSError as error:
        raise RetryableError("the host cannot be reached", code="unreachable") from error
    with closing(connected) as connection:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            connection.request(
                method,
                path,
                body=body,
                headers={"Accept-Encoding": "identity", "Connection": "close", **(headers or {})},
            )
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise RetryableError("the host does not answer as HTTP asks", code="unreachable") from error
        if response.status in {301, 302, 303, 307, 308}:
            raise PermanentError("the host answered by a redirect, and none is followed", code="redirected")
        yield response


def _connect(parts: SplitResult, *, grant: Grant) -> http.client.HTTPConnection:
    """Return a connection to an address of the host that was judged."""
    host, secure = (parts.hostname or "").rstrip("."), parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    if parts.scheme not in {"http", "https"} or parts.username is not None or not _named(host, port, grant=grant):
        raise ForbiddenAddressError("the tenant's jobs may not call that host: an operator has to allow it")
    address = next((each for each in _addresses(host, port) if _public(each, grant=grant)), None)
    if address is None:
        raise ForbiddenAddressError("the host's addresses are not public, and no operator allowed them")
    connection = http.client.HTTPConnection(host, port, timeout=SILENT_S)
    raw = socket.create_connection((address, port), timeout=CONNECT_S)
    try:
        raw.settimeout(SILENT_S)
        connection.sock = ssl.create_default_context().wrap_socket(raw, server_hostname=host) if secure else raw
    except BaseException:
        raw.close()
        raise
    return connection


def _named(host: str, port: int, *, grant: Grant) -> bool:
    """Say whether the grant names the host; without a port it means the scheme's own."""
    for each in grant.hosts:
        name, colon, wanted = each.partition(":")
        fits = host == name or (name.startswith("*.") and host.endswith(name[1:]))
        if fits and (wanted == str(port) if colon else port in {80, 443}):
            return True
    return False


def _addresses(host: str, port: int) -> list[str]:
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def _public(text: str, *, grant: Grant) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    judged = _embedded(address) or address
    if any(judged.version == each.version and judged in each for each in grant.networks):
        return True
    return judged.is_global and not judged.is_multicast


def _embedded(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that an IPv6 one stands for: mapped, 6to4, NAT64."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour


def refuse(response: http.client.HTTPResponse) -> NoReturn:
    """Raise what a status that is no success means: worth another attempt, or not."""
    status = response.status
    if status in {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS} or status >= 500:  # noqa: PLR2004
        raise RetryableError(f"the host answered {status}", code=f"http_{status}", retry_after_s=retry_after(response))
    raise PermanentError(f"the host answered {status}", code=f"http_{status}")


def retry_after(response: http.client.HTTPResponse) -> float | None:
    """Return the seconds the host asked to wait, or None; by its own clock where it names a time."""
    text = (response.headers.get("Retry-After") or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), MOST_PAUSE_S)
    try:
        until = parsedate_to_datetime(text)
        now = parsedate_to_datetime(response.headers.get("Date") or "")
        return min(max((until - now).total_seconds(), 0.0), MOST_PAUSE_S)
    except (ValueError, TypeError):
        return None
