"""Channels' settings, sealed: AES-256-GCM under a key of the plane's that is in no database.

Addresses such as a chat's webhook are keys themselves, so all that an operator types is sealed, not only what is called
secret. Who reads the whole database, or a copy of it, can tell which channels there are and speak by none of them. A
sealed text belongs to its channel: put into another's row it does not open.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from uuid import UUID

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from apps.tenancy import keys

NONCE_BYTES = 12


class SealBrokenError(Exception):
    """The settings do not open: another key, or another channel's row. An operator has to type them again."""


def sealed(settings: Mapping[str, str], *, channel_id: UUID) -> bytes:
    """Return settings as a row keeps them; raises what `keys.channel_key` raises."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(keys.channel_key()).encrypt(nonce, orjson.dumps(dict(settings)), channel_id.bytes)


def opened(box: bytes, *, channel_id: UUID) -> dict[str, str]:
    """Return the settings of a row; raises `SealBrokenError`, and what `keys.channel_key` raises."""
    if not box:
        return {}
    try:
        text = AESGCM(keys.channel_key()).decrypt(box[:NONCE_BYTES], box[NONCE_BYTES:], channel_id.bytes)
    except InvalidTag:
        raise SealBrokenError("the channel's settings do not open with the plane's key: type them again") from None
    return dict(orjson.loads(text))
