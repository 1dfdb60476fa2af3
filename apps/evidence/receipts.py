"""What proves a record to a stranger: its envelope, its place under a signed checkpoint, and all of a run in one file.

Envelopes are signed here, when somebody asks, and never on the way of a job: what makes a record true is the leaf that
was written with it. Call these in the context of the records' tenant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from apps.evidence import dsse, merkle, nodes, notes
from apps.evidence import series as series_tree
from apps.evidence.logs import Log
from apps.evidence.models import Emission, Predicate, Record, SealedCheckpoint, SeriesMember
from apps.evidence.ring import KeyRing
from apps.evidence.series import Entry

FORMAT = "operations-receipt/1"
PROOF_FORMAT = "c2sp.org/tlog-proof@v1"
ENDS = frozenset({Predicate.OUTCOME, Predicate.REFUSAL, Predicate.SERIES})


@dataclass(frozen=True, kw_only=True)
class Signed:
    """A log's newest checkpoint: its note, and what it says."""

    log: Log
    size: int
    root: bytes
    note: str
    sealed_at: Any


def last_checkpoint(log: Log) -> Signed | None:
    """Return the newest checkpoint of a log; None before anything was sealed."""
    rows = SealedCheckpoint.objects.filter(tenant_id=log.tenant_id, region=log.region).order_by("-size")
    row = rows.first()
    if row is None:
        return None
    return Signed(log=log, size=row.size, root=bytes(row.root), note=row.note, sealed_at=row.created_at)


def cosigned_checkpoint(log: Log) -> Signed | None:
    """Return the newest checkpoint of a log that the sink cosigned as its witness; None where there is none."""
    own = Emission.objects.filter(tenant_id=log.tenant_id, region=log.region, note__isnull=False)
    last = own.order_by("-start").first()
    if last is None:
        return None
    row = SealedCheckpoint.objects.filter(tenant_id=log.tenant_id, region=log.region, size=last.size).first()
    if row is None:
        return None
    return Signed(log=log, size=row.size, root=bytes(row.root), note=last.note or "", sealed_at=row.created_at)


def consistency(log: Log, *, old: int, new: int) -> list[bytes]:
    """Return the proof that the log of `new` records begins with that of `old`; `new` must have been sealed."""
    return nodes.proved(log, lambda node: merkle.consistency_proof(old=old, new=new, node=node))


def root_at(log: Log, *, size: int) -> bytes:
    """Return the root that a log had at `size`, which must have been sealed."""
    return nodes.proved(log, lambda node: merkle.root_at(size, node=node))


def proven(record: Record, *, under: Signed | None, ring: KeyRing) -> dict[str, Any]:
    """Return what a stranger can check of a record; `proof` is null while it waits for its seal.

    Nothing else belongs in here: what no signature covers could be changed on its way, and nobody would know.
    The proof is C2SP's tlog-proof: the log's entry is SHA-256(salt ‖ payload), and `extra` is the salt. A record whose
    bytes were erased has no envelope; its proof stands, and the log's tombstone says why.
    """
    payload, salt = _bytes(record.payload), _bytes(record.salt)
    return {
        "predicate": record.predicate,
        "number": record.number,
        "envelope": None if payload is None else dsse.envelope(payload, keys=ring.signing),
        "proof": None if under is None or record.number is None else _proof(record.number, salt=salt, under=under),
    }


def receipt(*, subject_id: str, log: Log, ring: KeyRing, kind: str = "job") -> dict[str, Any]:
    """Return the receipt of a run: every record of it, proven under one checkpoint, a cosigned one if it covers them.

    `complete`: it has ended, and all its records are sealed. An admission without an outcome shows as such. The records
    of a refusal for which another's stands are that one's, and `series` proves that it was counted among them.
    """
    # Records first: whatever had a number by then lies under the newest checkpoint read after.
    records = _records(log, kind=kind, subject_id=subject_id)
    stood = None if records else _stood_for(log, subject_id=subject_id)
    if stood is not None:
        records = _records(log, kind=kind, subject_id=stood.record.subject_id)
    under = last_checkpoint(log)
    witnessed = cosigned_checkpoint(log)
    if witnessed is not None and all(each.number is not None and each.number < witnessed.size for each in records):
        under = witnessed
    sealed = bool(records) and all(each.number is not None for each in records)
    return {
        "format": FORMAT,
        "subject": f"{kind}:{subject_id}",
        "origin": log.origin,
        "complete": sealed and records[-1].predicate in ENDS and (stood is None or stood.record.closed_at is not None),
        "checkpoint": under.note if under else None,
        "records": [proven(each, under=under, ring=ring) for each in records],
        "series": None if stood is None else _membership(stood),
    }


def _records(log: Log, *, kind: str, subject_id: str) -> Sequence[Record]:
    own = Record.objects.filter(kind=kind, subject_id=subject_id, tenant_id=log.tenant_id, region=log.region)
    return list(own.order_by("created_at", "record_id"))


def _stood_for(log: Log, *, subject_id: str) -> SeriesMember | None:
    own = SeriesMember.objects.filter(subject_id=subject_id, tenant_id=log.tenant_id, record__region=log.region)
    return own.select_related("record").first()


def _membership(stood: SeriesMember) -> dict[str, Any]:
    """Return for whom else `first`'s record stands, this entry of them, and how it is proven once it was counted."""
    series = stood.record
    entry = Entry(stood.subject_id, stood.digest, stood.joined_at)
    shown: dict[str, Any] = {"first": f"job:{series.subject_id}", "entry": entry.document()}
    if series.closed_at is None:
        return shown | {"count": None, "index": None, "path": None}
    members = SeriesMember.objects.filter(record_id=series.record_id).order_by("joined_at", "subject_id")
    others = [Entry(*row) for row in members.values_list("subject_id", "digest", "joined_at")]
    entries = [Entry(series.subject_id, series.digest, series.opened_at), *others]
    index = entries.index(entry)
    path = [notes.encoded(each) for each in series_tree.path(entries, index=index)]
    return shown | {"count": len(entries), "index": index, "path": path}


def _proof(number: int, *, salt: bytes | None, under: Signed) -> str:
    """Return a tlog-proof: format, salt, number, path, and the checkpoint behind an empty line."""
    path = nodes.proved(under.log, lambda node: merkle.inclusion_proof(index=number, size=under.size, node=node))
    extra = [f"extra {notes.encoded(salt)}"] if salt is not None else []
    lines = [PROOF_FORMAT, *extra, f"index {number}", *map(notes.encoded, path)]
    return "\n".join(lines) + "\n\n" + under.note


def _bytes(value: Any) -> bytes | None:
    return None if value is None else bytes(value)
