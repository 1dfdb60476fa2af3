"""Every read of the evidence log that others may use."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from apps.evidence.models import Record
from apps.evidence.statements import leaf_of


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What looking at one record found."""

    record_id: UUID
    predicate: str
    intact: bool
    finding: str


def states_of(record_ids: Collection[UUID]) -> dict[UUID, tuple[str, str | None]]:
    """Return (state, ref) of each record that exists in the current tenant context."""
    rows = Record.objects.filter(record_id__in=record_ids).values_list("record_id", "state", "ref")
    return {record_id: (state, ref) for record_id, state, ref in rows}


def examine(*, subject_id: str) -> list[Verdict]:
    """Recompute every leaf of a subject's records, oldest first, and say of each whether its bytes still match."""
    verdicts = []
    for record in Record.objects.filter(kind="job", subject_id=subject_id).order_by("created_at"):
        intact = leaf_of(payload=bytes(record.payload), salt=bytes(record.salt)) == bytes(record.leaf)
        verdicts.append(
            Verdict(
                record_id=record.record_id,
                predicate=record.predicate,
                intact=intact,
                finding="the bytes match their leaf" if intact else "the bytes were changed after they were written",
            )
        )
    return verdicts
