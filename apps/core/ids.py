"""Identifiers: UUIDv7, so that ids sort by birth and an index grows at its end. Pure; no clock but the id's own."""

from __future__ import annotations

import re
import uuid
from datetime import datetime

import uuid6

_CANONICAL = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")


class BadIdError(ValueError):
    """A text is not an id in its canonical form."""


def uuid7() -> uuid.UUID:
    """Return a new UUIDv7 (RFC 9562) as the standard library's type, which every driver knows how to store."""
    return uuid.UUID(int=uuid6.uuid7().int)


def parse_id(text: str) -> uuid.UUID:
    """Return the UUID that `text` spells in its canonical 36 characters; raise `BadIdError` for anything else.

    `uuid.UUID` also takes braces, `urn:uuid:` and missing hyphens: one object must not have four addresses.
    """
    if not _CANONICAL.fullmatch(text):
        raise BadIdError("an id is a UUID such as 0198f3a2-7b1c-7d3e-8f4a-5b6c7d8e9f00")
    return uuid.UUID(text)


def first_id_at(instant: datetime) -> uuid.UUID:
    """Return the smallest UUIDv7 of `instant`'s millisecond: ids of that time and later compare greater or equal."""
    return uuid.UUID(int=int(instant.timestamp() * 1000) << 80 | 0x7 << 76 | 0b10 << 62)
