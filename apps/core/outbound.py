"""Calls to the world outside that cannot be led inside: one guarded HTTP client, for jobs and for webhooks.

The name is resolved here, each address is judged, and the connection goes to the very address that was judged: a name
that answers differently the second time leads nowhere. No redirect is followed, no proxy is asked, and a host that
drips its answer byte by byte is cut off at the deadline. Knows neither framework nor whose call it is.
"""

from __future__ import annotations

import functools
import http.client
import io
import ipaddress
import socket
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

CONNECT_S: Final = 10.0
SILENT_S: Final = 30.0  # between two bytes
MOST_PAUSE_S: Final = 86_400.0
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
HTTPS_PORT: Final = 443
HTTP_PORT: Final = 80
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class BadUrlError(ValueError):
    """The text is no http or https address of a host, or has a password in it."""


class ForbiddenAddressError(Exception):
    """The host has no address that may be called."""


class UnreachableError(Exception):
    """Nobody answers, or not as HTTP asks, or not in time; `slow` says that it was the time."""

    def __init__(self, message: str, *, slow: bool = False) -> None:
        super().__init__(message)
        self.slow = slow


class Target(NamedTuple):
    """Where a URL leads."""

    secure: bool
    host: str
    port: int
    path: str


def target(url: str) -> Target:
    """Return where `url` leads; raises `BadUrlError`."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
        host.encode("ascii")
    except ValueError as error:  # a port that is none, a bracket that is not closed, a name that is not ASCII
        raise BadUrlError("an address such as https://example.org/hooks would be right") from error
    if parts.scheme not in {"http", "https"} or not host or parts.username is not None or parts.password is not None:
        raise BadUrlError("an http or https address of a host, with no password in it, would be right")
    if any(not "!" <= letter <= "~" for letter in url):
        raise BadUrlError("an address has neither spaces nor control characters")
    secure = parts.scheme == "https"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(secure, host, port or (HTTPS_PORT if secure else HTTP_PORT), path)


def public(address: str, *, networks: Sequence[Network] = ()) -> bool:
    """Say whether an address may be called: it is public, whatever it is disguised as, or in one of `networks`."""
    judged = ipaddress.ip_address(address.partition("%")[0])
    judged = _embedded(judged) or judged
    if any(judged.version == each.version and judged in each for each in networks):
        return True
    return judged.is_global and not judged.is_multicast


def literal(host: str) -> bool:
    """Say whether a host is written as an address, so that it can be judged without asking anybody."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


@contextmanager
def request(
    url: str,
    *,
    method: str,
    networks: Sequence[Network] = (),
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    connect_s: float = CONNECT_S,
    silent_s: float = SILENT_S,
    total_s: float | None = None,
) -> Iterator[http.client.HTTPResponse]:
    """Send a request and yield its response, of whatever status; reading it is bounded by the same times.

    Raises `BadUrlError`, `ForbiddenAddressError`, `UnreachableError`; reading the response raises `OSError` (a
    `TimeoutError` at the deadline) and `http.client.HTTPException`.
    """
    place = target(url)
    until = time.monotonic() + (total_s if total_s is not None else float("inf"))
    try:
        raw = _connected(place, networks=networks, connect_s=min(connect_s, total_s or connect_s))
    except OSError as error:
        raise UnreachableError("the host cannot be reached", slow=isinstance(error, TimeoutError)) from error
    with closing(raw):
        try:
            timed = _Timed(raw, place=place, until=until, silent_s=silent_s)
        except OSError as error:
            raise UnreachableError("no TLS with the host", slow=isinstance(error, TimeoutError)) from error
        with closing(http.client.HTTPConnection(place.host, place.port)) as connection:
            connection.sock = timed
            try:
                usual = {"Accept-Encoding": "identity", "Connection": "close"}
                connection.request(method, place.path, body=body, headers={**usual, **(headers or {})})
                response = connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                slow = isinstance(error, TimeoutError)
                raise UnreachableError("the host does not answer as HTTP asks", slow=slow) from error
            with closing(response):
                yield response


def reach(host: str, port: int, *, networks: Sequence[Network] = (), connect_s: float = CONNECT_S) -> socket.socket:
    """Return a connection to an address of the host that was judged, to be closed by whoever asked.

    Raises `ForbiddenAddressError`, `UnreachableError`.
    """
    try:
        return _connected(Target(False, host, port, "/"), networks=networks, connect_s=connect_s)
    except (OSError, UnicodeError) as error:
        raise UnreachableError("the host cannot be reached", slow=isinstance(error, TimeoutError)) from error


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


def _connected(place: Target, *, networks: Sequence[Network], connect_s: float) -> socket.socket:
    """Return a connection to an address of the host that was judged."""
    found = [str(each[4][0]) for each in socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)]
    address = next((each for each in found if public(each, networks=networks)), None)
    if address is None:
        raise ForbiddenAddressError("the host's addresses are not public, and no operator allowed them")
    return socket.create_connection((address, place.port), timeout=connect_s)


@functools.cache
def _tls() -> ssl.SSLContext:
    """Return the context of all calls: reading the authorities costs more than a call."""
    return ssl.create_default_context()


def _embedded(address: Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that an IPv6 one stands for: mapped, 6to4, NAT64."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour


class _Timed:
    """A socket whose every wait ends at the deadline. A socket's own time-out begins anew with each byte."""

    def __init__(self, raw: socket.socket, *, place: Target, until: float, silent_s: float) -> None:
        self._raw = raw
        self._until = until
        self._silent_s = silent_s
        if place.secure:
            self.arm()
            self._raw = _tls().wrap_socket(raw, server_hostname=place.host)

    def arm(self) -> None:
        """Let the next wait last at most as long as is left; raise `TimeoutError` when nothing is."""
        left_s = self._until - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the deadline has passed")
        self._raw.settimeout(min(left_s, self._silent_s))

    def sendall(self, data: bytes) -> None:
        """Send all of it."""
        self.arm()
        self._raw.sendall(data)

    def makefile(self, *_: Any, **__: Any) -> io.BufferedReader:
        """Return what http.client reads from."""
        return io.BufferedReader(_Reader(self, self._raw.makefile("rb", buffering=0)))

    def close(self) -> None:
        """Close it, once what reads from it is closed as well."""
        self._raw.close()


class _Reader(io.RawIOBase):
    """The reading side."""

    def __init__(self, owner: _Timed, file: io.RawIOBase) -> None:
        self._owner = owner
        self._file = file

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read what has come, within what is left of the time."""
        self._owner.arm()
        return self._file.readinto(buffer)

    def close(self) -> None:
        """Close the file beneath."""
        self._file.close()
        super().close()
