"""Every write of the evidence log."""

from __future__ import annotations

from typing import Any

from apps.evidence.statements import Statement

# An insert for a WITH chain, as `apps.events.operations.APPEND`: `{source}` has record_id, tenant_id, region,
# evidence_subject, fence, predicate, payload (the exact text), salt and leaf (hex). Rows without a record_id
# prove nothing.
APPEND = """
INSERT INTO evidence_records
       (record_id, tenant_id, region, kind, subject_id, fence, predicate, payload, salt, leaf, created_at)
SELECT record_id, tenant_id, region, 'job', evidence_subject, fence, predicate, convert_to(payload, 'UTF8'),
       decode(salt, 'hex'), decode(leaf, 'hex'), clock_timestamp()
  FROM {source} WHERE record_id IS NOT NULL
"""

COLUMNS = "record_id uuid, evidence_subject text, predicate text, payload text, salt text, leaf text"


def row(statement: Statement | None, *, subject_id: str) -> dict[str, Any]:
    """Return the columns of `COLUMNS` for `statement`; all null for none."""
    if statement is None:
        return {}
    return {
        "record_id": str(statement.record_id),
        "evidence_subject": subject_id,
        "predicate": statement.predicate.value,
        "payload": statement.payload.decode(),
        "salt": statement.salt.hex(),
        "leaf": statement.leaf.hex(),
    }
