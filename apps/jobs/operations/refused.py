"""Refusals alike: the first is recorded, and its record stands for those that follow until they are counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import orjson

from apps.evidence.operations import series
from apps.evidence.operations.series import Refused
from apps.evidence.series import alike


def coalesce(rows: Sequence[dict[str, Any]]) -> None:
    """Take the records of those refusals out of `rows` for which another's stands: one tenant's, yet to be written.

    A caller who loops on a refusal would flood its tenant's evidence otherwise, and owe the more the less it may.
    """
    standing = series.place(
        [
            Refused(
                subject_id=row["job_id"],
                region=row["region"],
                alike=alike(orjson.loads(row["payload"])["predicate"]),
                digest=row["params_digest"],
                record_id=UUID(row["record_id"]),
            )
            for row in rows
        ],
        tenant_id=rows[0]["tenant_id"],
    )
    for row in rows:
        record_id = str(standing[row["job_id"]])
        if record_id != row["record_id"]:
            row |= {"record_id": None, "payload": None, "stood_for_by": record_id}
