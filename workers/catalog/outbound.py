"""Calls to the world outside, on a tenant's jobs' behalf: only where an operator allowed it.

How a call is kept from being led inside is `apps.core.outbound`'s, which webhooks share. Here: which hosts a tenant's
jobs may call, and what an answer means for the attempt.
"""

import http.client
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import NoReturn

from apps.core import outbound
from apps.core.outbound import retry_after
from apps.jobs.types import PermanentError, RetryableError
from workers.catalog.surroundings import Grant

__all__ = ["URL", "ForbiddenAddressError", "refuse", "request", "retry_after"]

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
    url: str,
    *,
    grant: Grant,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    total_s: float | None = None,
) -> Iterator[http.client.HTTPResponse]:
    """Send a request and yield its response, of whatever status but a redirect.

    Raises ForbiddenAddressError, PermanentError on a redirect, RetryableError where nobody answers.
    """
    try:
        place = outbound.target(url)
        allowed = _named(place.host, place.port, grant=grant)
    except outbound.BadUrlError:
        allowed = False
    if not allowed:
        raise ForbiddenAddressError("the tenant's jobs may not call that host: an operator has to allow it")
    try:
        with outbound.request(
            url, method=method, networks=grant.networks, body=body, headers=headers, total_s=total_s
        ) as response:
            if response.status in outbound.REDIRECTS:
                raise PermanentError("the host answered by a redirect, and none is followed", code="redirected")
            yield response
    except outbound.ForbiddenAddressError as error:
        raise ForbiddenAddressError(str(error)) from error
    except outbound.UnreachableError as error:
        raise RetryableError(str(error), code="unreachable") from error


def _named(host: str, port: int, *, grant: Grant) -> bool:
    """Say whether the grant names the host; without a port it means the scheme's own."""
    for each in grant.hosts:
        name, colon, wanted = each.partition(":")
        fits = host == name or (name.startswith("*.") and host.endswith(name[1:]))
        if fits and (wanted == str(port) if colon else port in {80, 443}):
            return True
    return False


def refuse(response: http.client.HTTPResponse) -> NoReturn:
    """Raise what a status that is no success means: worth another attempt, or not."""
    status = response.status
    if status in {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS} or status >= 500:  # noqa: PLR2004
        raise RetryableError(f"the host answered {status}", code=f"http_{status}", retry_after_s=retry_after(response))
    raise PermanentError(f"the host answered {status}", code=f"http_{status}")
