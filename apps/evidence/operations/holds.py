"""Legal holds: what must not be erased, placed and released by people. No erasure runs between look and deed."""

from __future__ import annotations

from uuid import UUID

from apps.core.database import preparing
from apps.core.ids import uuid7

LOCK = 0x6F707314  # holds and erasures, one after the other
LOCKED = "SELECT pg_advisory_xact_lock(%s)"

PLACE = """
INSERT INTO legal_holds (hold_id, tenant_id, subject_id, reason, placed_by, placed_at)
VALUES (%(hold)s, %(tenant)s, %(subject)s, %(reason)s, %(by)s, clock_timestamp())
"""
RELEASE = """
UPDATE legal_holds SET released_by = %(by)s, released_at = clock_timestamp()
 WHERE hold_id = %(hold)s AND released_at IS NULL
"""

# Whether a hold in force covers a record, `{tenant}` and `{subject}` being whose and of what. A refusal's covers the
# record that stands for it, and the one that counts it: both are of the first refusal of its series.
COVERED = """
EXISTS (SELECT 1 FROM legal_holds h WHERE h.tenant_id = {tenant} AND h.released_at IS NULL
           AND (h.subject_id IS NULL OR h.subject_id = {subject} OR EXISTS (
             SELECT 1 FROM evidence_series_members m JOIN evidence_series s USING (record_id)
              WHERE m.subject_id = h.subject_id AND s.subject_id = {subject})))
"""


class NoSuchHoldError(LookupError):
    """No hold of that id is in force."""


def place(*, tenant_id: str, subject_id: str | None, reason: str, by: str) -> UUID:
    """Forbid the erasure of a subject's records (of all the tenant's for None) until it is released; return its id.

    Call it in a transaction: once that is committed, no erasure touches the records. Raises `django.db.IntegrityError`
    for a tenant that is not there.
    """
    hold_id = uuid7()
    with preparing() as cursor:
        cursor.execute(LOCKED, [LOCK])
        cursor.execute(PLACE, {"hold": hold_id, "tenant": tenant_id, "subject": subject_id, "reason": reason, "by": by})
    return hold_id


def release(*, hold_id: UUID, by: str) -> None:
    """Let retention rule again; raises `NoSuchHoldError` where no such hold is in force. It stays as a record."""
    with preparing() as cursor:
        cursor.execute(RELEASE, {"hold": hold_id, "by": by})
        if cursor.rowcount != 1:
            raise NoSuchHoldError(f"no hold {hold_id} is in force")
