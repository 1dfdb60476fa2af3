"""Reading a log's rows to be examined: as they stand, believing nothing of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from apps.core.database import rows
from apps.evidence import merkle
from apps.evidence.logs import Columns, Log
from apps.evidence.merkle import leaf_of
from apps.evidence.series import Entry

PAGE = 1000
PIECES = 128  # checkpoints a page: so many small steps are read at once

OF_LOG = "tenant_id = %(tenant)s AND region = %(region)s"
RECORDS = f"""
SELECT record_id, kind, subject_id, predicate, fence, created_at, number, payload, salt, leaf FROM evidence_records
 WHERE {OF_LOG} AND number >= %(low)s AND number < %(high)s ORDER BY number LIMIT %(limit)s
"""
BEYOND = f"""
SELECT record_id, kind, subject_id, predicate, fence, created_at, number, payload, salt, leaf FROM evidence_records
 WHERE {OF_LOG} AND (number < 0 OR number >= (
    SELECT coalesce(max(size), 0) FROM evidence_checkpoints WHERE {OF_LOG})) ORDER BY number LIMIT %(limit)s
"""
UNSEALED = f"""
SELECT record_id, kind, subject_id, predicate, fence, created_at, -1, payload, salt, leaf FROM evidence_records
 WHERE {OF_LOG} AND number IS NULL ORDER BY created_at, record_id
"""
CHECKPOINTS = f"""
SELECT checkpoint_id, start, size, root, note, peaks, created_at FROM evidence_checkpoints
 WHERE {OF_LOG} AND size > %(after)s ORDER BY size LIMIT %(limit)s
"""
NODES = f"""
SELECT nodes_id, size, level, first, hashes FROM evidence_nodes
 WHERE {OF_LOG} AND size > %(low)s AND size <= %(high)s ORDER BY size, level, first
"""
STRAY_NODES = f"""
SELECT nodes_id, size, level, first, hashes FROM evidence_nodes
 WHERE {OF_LOG} AND (size <= 0 OR size > (
    SELECT coalesce(max(size), 0) FROM evidence_checkpoints WHERE {OF_LOG})) ORDER BY size LIMIT %(limit)s
"""
# Where a leaf was sealed: hashes are found by their bytes, which may also lie across two others.
SEALED_AT = f"""
SELECT first + (position(%(leaf)s IN hashes) - 1) / 32 FROM evidence_nodes
 WHERE {OF_LOG} AND level = 0 AND position(%(leaf)s IN hashes) %% 32 = 1 LIMIT 1
"""
TOMBSTONES = f"""
SELECT number, payload FROM evidence_records WHERE {OF_LOG} AND kind = 'erasure' AND payload IS NOT NULL
"""
SERIES = """
SELECT s.record_id, s.subject_id, s.digest, s.opened_at, m.subject_id, m.digest, m.joined_at
  FROM evidence_series s LEFT JOIN evidence_series_members m USING (record_id)
 WHERE s.tenant_id = %(tenant)s AND s.region = %(region)s AND s.subject_id = %(subject)s
 ORDER BY s.record_id, m.joined_at, m.subject_id
"""
LOGS = """
SELECT tenant_id, region FROM evidence_checkpoints UNION SELECT tenant_id, region FROM evidence_nodes
 UNION SELECT tenant_id, region FROM evidence_records
"""


class StoredRecord(NamedTuple):
    """A record's row. Payload and salt are None once they were erased."""

    columns: Columns
    number: int
    payload: bytes | None
    salt: bytes | None
    leaf: bytes

    @property
    def computed(self) -> bytes | None:
        """The leaf that payload and salt make now; None where they were erased."""
        if self.payload is None or self.salt is None:
            return None
        return leaf_of(payload=self.payload, salt=self.salt)


class StoredNodes(NamedTuple):
    """A row of nodes."""

    nodes_id: UUID
    size: int
    level: int
    first: int
    hashes: tuple[bytes, ...]


@dataclass(frozen=True, kw_only=True)
class StoredCheckpoint:
    """A checkpoint's row."""

    checkpoint_id: UUID
    start: int
    size: int
    root: bytes
    note: str
    peaks: tuple[bytes, ...]
    created_at: datetime


def logs() -> set[Log]:
    """Return the logs of which anything is stored, in the current context."""
    return {Log(*row) for row in rows(LOGS, [])}


def checkpoints(log: Log) -> Iterator[list[StoredCheckpoint]]:
    """Yield a log's checkpoints by their size, some at a time."""
    after = -(2**62)
    while True:
        found = [
            StoredCheckpoint(
                checkpoint_id=checkpoint_id,
                start=start,
                size=size,
                root=bytes(root),
                note=note,
                peaks=merkle.split(bytes(peaks)),
                created_at=created_at,
            )
            for checkpoint_id, start, size, root, note, peaks, created_at in rows(
                CHECKPOINTS, _named(log) | {"after": after, "limit": PIECES}
            )
        ]
        if not found:
            return
        yield found
        after = found[-1].size


def records(log: Log, *, low: int, high: int) -> Iterator[StoredRecord]:
    """Yield the records numbered from `low` up to `high`, read a page at a time."""
    while True:
        page = _records(RECORDS, log, low=low, high=high, limit=PAGE)
        yield from page
        if len(page) < PAGE:
            return
        low = page[-1].number + 1


def beyond(log: Log, *, limit: int) -> list[StoredRecord]:
    """Return records whose number lies under no checkpoint."""
    return _records(BEYOND, log, limit=limit)


def unsealed(log: Log) -> list[StoredRecord]:
    """Return the records that wait for their number."""
    return _records(UNSEALED, log)


def nodes(log: Log, *, low: int, high: int) -> list[StoredNodes]:
    """Return the rows of nodes that say a checkpoint larger than `low` and at most `high` was signed over them."""
    return _nodes(NODES, log, low=low, high=high)


def stray_nodes(log: Log, *, limit: int) -> list[StoredNodes]:
    """Return rows of nodes that belong under no checkpoint."""
    return _nodes(STRAY_NODES, log, limit=limit)


def tombstones(log: Log) -> list[tuple[int | None, bytes]]:
    """Return (number, payload) of the log's tombstones, sealed or not."""
    return [(number, bytes(payload)) for number, payload in rows(TOMBSTONES, _named(log))]


def series(log: Log, *, subject_id: str) -> list[Entry]:
    """Return the entries of the series that began with a subject's refusal, as they would be counted now."""
    found = rows(SERIES, _named(log) | {"subject": subject_id})
    firsts = {record_id: Entry(*first) for record_id, *first in (row[:4] for row in found)}
    return [*firsts.values(), *(Entry(*row[4:]) for row in found if row[4] is not None)]


def sealed_at(log: Log, *, leaf: bytes) -> int | None:
    """Return the number under which a leaf was sealed, if it was."""
    found: Sequence[tuple[int]] = rows(SEALED_AT, _named(log) | {"leaf": leaf})
    return int(found[0][0]) if found else None


def _records(query: str, log: Log, **values: int) -> list[StoredRecord]:
    return [
        StoredRecord(Columns(*columns), number, _whole(payload), _whole(salt), bytes(leaf))
        for *columns, number, payload, salt, leaf in rows(query, _named(log) | values)
    ]


def _nodes(query: str, log: Log, **values: int) -> list[StoredNodes]:
    return [
        StoredNodes(nodes_id, size, level, first, merkle.split(bytes(hashes)))
        for nodes_id, size, level, first, hashes in rows(query, _named(log) | values)
    ]


def _whole(value: memoryview | bytes | None) -> bytes | None:
    return None if value is None else bytes(value)


def _named(log: Log) -> dict[str, object]:
    return {"tenant": log.tenant_id, "region": log.region}
