"""What the channels that speak HTTP have in common: one request, bounded, to a public host, led nowhere else."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from typing import Final

from apps.core import grants, outbound
from apps.notifications.kinds import BadSettingError, Message, Settings
from apps.notifications.lifecycle import Answer, of_status

CONNECT_WITHIN_S: Final = 5.0
ANSWER_WITHIN_S: Final = 10.0
MOST_ANSWER_BYTES: Final = 64 * 1024
EVERYBODY: Final = "*"  # whose networks the operator's `outbound.json` grants to the platform's own channels


def post(url: str, *, body: bytes, headers: Mapping[str, str], message: Message) -> Answer:
    """Post a body and return what came of it, whatever that is."""
    try:
        if message.production and not outbound.target(url).secure:
            return Answer(accepted=False, error="not_https", permanent=True)
        with outbound.request(
            url,
            method="POST",
            networks=grants.grant(tenant_id=EVERYBODY).networks,
            body=body,
            headers={"User-Agent": "Platform-Operations-Notifier/1", **headers},
            connect_s=CONNECT_WITHIN_S,
            silent_s=ANSWER_WITHIN_S,
            total_s=ANSWER_WITHIN_S,
        ) as response:
            answer = of_status(response.status, retry_after_s=outbound.retry_after(response))
            _read(response)
            return answer
    except outbound.ForbiddenAddressError:
        return Answer(accepted=False, error="address_forbidden", permanent=True)
    except outbound.BadUrlError:
        return Answer(accepted=False, error="bad_url", permanent=True)
    except outbound.UnreachableError as error:
        return Answer(accepted=False, error="too_slow" if error.slow else "unreachable")
    except grants.BadGrantError:
        return Answer(accepted=False, error="bad_grant")


def checked_url(settings: Settings, name: str) -> None:
    """Refuse an address that is none; raises `BadSettingError`."""
    try:
        outbound.target(settings[name])
    except outbound.BadUrlError as error:
        raise BadSettingError(name, str(error)) from error


def host_of(url: str) -> str:
    """Return the host of an address."""
    return outbound.target(url).host


def _read(response: http.client.HTTPResponse) -> None:
    """Read what there is: the status has been said, and an answer that is cut off is an answer."""
    try:
        response.read(MOST_ANSWER_BYTES)
    except (OSError, http.client.HTTPException):
        return
