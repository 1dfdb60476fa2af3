"""Erasing: records past their retention lose payload and salt, and a signed tombstone in their log says so.

The leaf stays, so the tree and every proof stand; without the salt the payload cannot be guessed from it. PostgreSQL
lets the loops' role do this and nothing else to a record's bytes (migration 0004): not a byte can be written anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import orjson
from django.db import transaction

from apps.core.database import preparing
from apps.evidence import operations
from apps.evidence.logs import Log
from apps.evidence.operations.holds import COVERED, LOCK, LOCKED
from apps.evidence.ring import KeyRing
from apps.evidence.tombstones import KIND, Hole, tombstone

# Holds are asked in the very statement that erases, under the lock that whoever places one takes as well.
ERASE = f"""
UPDATE evidence_records AS r SET payload = NULL, salt = NULL
 WHERE r.record_id = ANY (%(records)s) AND r.tenant_id = %(tenant)s AND r.region = %(region)s
   AND r.number IS NOT NULL AND r.payload IS NOT NULL AND r.predicate <> 'erasure'
   AND NOT {COVERED.format(tenant="r.tenant_id", subject="r.subject_id")}
RETURNING r.number, r.leaf
"""
TOMBSTONE = operations.APPEND.replace("'job'", f"'{KIND}'").format(
    source="jsonb_to_recordset(%(rows)s) AS t(tenant_id text, region text, fence bigint, " + operations.COLUMNS + ")"
)


@dataclass(frozen=True, kw_only=True)
class Erased:
    """What was erased of one log under one rule, and the tombstone's subject."""

    log: Log
    retention_days: int
    numbers: Sequence[int]
    tombstone: str


def erase(due: Mapping[tuple[Log, int], Sequence[UUID]], *, actor: str, ring: KeyRing) -> list[Erased]:
    """Erase the records that are `due`, by log and retention in days; return what was erased, tombstones written.

    In the control role; all of it or nothing. What a legal hold covers by then, or is not sealed, is left as it is.
    """
    erased: list[Erased] = []
    with transaction.atomic(), preparing() as cursor:
        cursor.execute(LOCKED, [LOCK])
        for (log, days), records in sorted(due.items()):
            cursor.execute(ERASE, {"records": list(records), "tenant": log.tenant_id, "region": log.region})
            holes = sorted(Hole(number, bytes(leaf)) for number, leaf in cursor.fetchall())
            if not holes:
                continue
            subject_id, said = tombstone(log, holes=holes, retention_days=days, actor=actor, ring=ring)
            row = operations.row(said, subject_id=subject_id)
            row |= {"tenant_id": log.tenant_id, "region": log.region, "fence": 0}
            cursor.execute(TOMBSTONE, {"rows": orjson.dumps([row]).decode()})
            numbers = [hole.number for hole in holes]
            erased.append(Erased(log=log, retention_days=days, numbers=numbers, tombstone=subject_id))
    return erased
