"""Which log a record belongs to, and the values that name rows of it. Pure."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from urllib.parse import unquote

from apps.evidence.notes import origin_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Log(NamedTuple):
    """One log: the records of a tenant in a region. Written `tenant in region` where a person reads it."""

    tenant_id: str
    region: str

    @property
    def origin(self) -> str:
        """The log's name in checkpoints."""
        return origin_of(region=self.region, tenant_id=self.tenant_id)

    @classmethod
    def named(cls, origin: str) -> Log:
        """Return the log that checkpoints call `origin`; raise `ValueError` for the name of none."""
        parts = origin.split("/")
        if len(parts) != 3 or parts[0] != "operations" or not all(parts):  # noqa: PLR2004 - as `origin_of` writes it
            raise ValueError(f"{origin} names no log of this plane")
        return cls(parts[2], unquote(parts[1]))

    def __str__(self) -> str:
        return f"{self.tenant_id} in {self.region}"


class Columns(NamedTuple):
    """What a record says beside its payload: by these columns it is found, and no leaf holds them."""

    record_id: uuid.UUID
    kind: str
    subject_id: str
    predicate: str
    fence: int
    created_at: datetime

    def digest(self) -> bytes:
        """Return the SHA-256 over them; a checkpoint signs `columns_hash` of its step's digests."""
        since_1970_us = (self.created_at - EPOCH) // timedelta(microseconds=1)
        words = (str(self.record_id), self.kind, self.subject_id, self.predicate, str(self.fence), str(since_1970_us))
        return hashlib.sha256("\n".join(words).encode()).digest()


def columns_hash(digests: Iterable[bytes]) -> bytes:
    """Return what a checkpoint signs for the columns of the records it sealed."""
    return hashlib.sha256(b"".join(digests)).digest()


def checkpoint_id(*, note: str, sealed_at: datetime) -> uuid.UUID:
    """Return the id of a checkpoint's row: by it another note under the same id is found out."""
    return _derived(sealed_at, note)


def nodes_id(*, log: Log, level: int, first: int, sealed_at: datetime) -> uuid.UUID:
    """Return the id of a row of nodes, by where they stand."""
    return _derived(sealed_at, f"{log.origin}\n{level}\n{first}")


def _derived(instant: datetime, seed: str) -> uuid.UUID:
    """Return a UUIDv8 (RFC 9562 §5.8): milliseconds first, as in version 7, then a digest of `seed` for chance."""
    digest = hashlib.sha256(seed.encode()).digest()
    since_1970_ms = (instant - EPOCH) // timedelta(milliseconds=1)
    value = (since_1970_ms << 80) | int.from_bytes(digest[:10], "big")
    value = value & ~(0xF << 76) | 0x8 << 76
    return uuid.UUID(int=value & ~(0x3 << 62) | 0x2 << 62)
