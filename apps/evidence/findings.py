"""What examining a log may find, each with the words a person reads. Values only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID

from apps.evidence.logs import Log


class Kind(StrEnum):
    """What was done to a log behind the plane's back."""

    RECORD_CHANGED = "record_changed"  # its bytes, salt or leaf are others
    RECORD_REPLACED = "record_replaced"  # it agrees with itself, and another was sealed
    RECORD_MOVED = "record_moved"  # it stands at another's number
    RECORD_MISSING = "record_missing"  # a number that was sealed has no record
    RECORD_FORGED = "record_forged"  # it has a number that nobody gave
    COLUMNS_CHANGED = "columns_changed"  # id, subject, predicate, fence or time are others
    SERIES_CHANGED = "series_changed"  # the refusals that it counted are not those that are stored
    NODES_CHANGED = "nodes_changed"
    NODES_MISSING = "nodes_missing"
    NODES_FORGED = "nodes_forged"
    CHECKPOINT_CHANGED = "checkpoint_changed"
    CHECKPOINT_MISSING = "checkpoint_missing"
    CHECKPOINT_FORGED = "checkpoint_forged"
    LOG_TRUNCATED = "log_truncated"  # it ends before a checkpoint that is kept elsewhere
    LOG_REWRITTEN = "log_rewritten"  # it is whole in itself, and not what was signed
    HEAD_UNREADABLE = "head_unreadable"  # the checkpoint kept elsewhere is not to be believed


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is not as it was sealed: in which log, at which number or size, and of what."""

    kind: Kind
    log: Log
    says: str
    number: int | None = None
    record_id: UUID | None = None
    subject_id: str | None = None
    predicate: str | None = None

    def __str__(self) -> str:
        about = f" ({self.predicate} of job {self.subject_id})" if self.subject_id else ""
        return f"{self.kind} in the log of {self.log}: {self.says}{about}"

    def document(self) -> dict[str, Any]:
        """Return the same for programs."""
        return {
            "kind": self.kind.value,
            "tenant_id": self.log.tenant_id,
            "region": self.log.region,
            "number": self.number,
            "record_id": str(self.record_id) if self.record_id else None,
            "job_id": self.subject_id,
            "predicate": self.predicate,
            "finding": self.says,
        }


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was examined of one log, and what was found. `root` is the last that could be recomputed."""

    log: Log
    size: int
    root: bytes
    checkpoints: int
    records: int
    erased: int
    unsealed: int
    kept: int | None
    predicates: dict[str, int] = field(default_factory=dict)
    findings: Sequence[Finding] = ()

    @property
    def intact(self) -> bool:
        """Whether nothing was found."""
        return not self.findings
