"""A series: refusals alike, of which the first has a record and one more record counts them all. Pure.

The counting record holds the root of a tree (RFC 9162) over the series' entries, the first one's before the others' in
their order. So whoever is shown one entry and its path can tell that it was counted, and a refusal that was not counted
finds no path.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from apps.core.digests import canonical
from apps.evidence import merkle
from apps.evidence.logs import Log
from apps.evidence.models import Predicate
from apps.evidence.statements import Statement, statement


class Entry(NamedTuple):
    """One refusal of a series: which job, what it asked for (`sha256:<hex>` of its params), and when it was counted."""

    subject_id: str
    digest: str
    at: datetime

    def document(self) -> dict[str, str]:
        """Return the entry as a stranger is shown it."""
        return {"job": self.subject_id, "params_digest": self.digest, "refused_at": self.at.isoformat()}

    @property
    def leaf(self) -> bytes:
        """Its leaf. (It needs no salt: nobody guesses a job's id.)"""
        return merkle.entry_hash(canonical(self.document()))


class Counted(NamedTuple):
    """What a counting record says, as far as it can be checked: how many, and the root over them."""

    size: int
    root: bytes


def counted(entries: Sequence[Entry]) -> Counted:
    """Return what a record of `entries`, the first one's first, has to say."""
    return Counted(len(entries), merkle.Tree().grown([each.leaf for each in entries]).root)


def path(entries: Sequence[Entry], *, index: int) -> list[bytes]:
    """Return the proof that entry `index` is among `entries`."""
    added = merkle.Tree().grown([each.leaf for each in entries]).added
    return merkle.inclusion_proof(index=index, size=len(entries), node=lambda level, place: added[level][1][place])


def counting(log: Log, *, entries: Sequence[Entry], refusal: bytes | None) -> Statement:
    """Return the statement that counts a series' `entries`; `refusal` is the leaf of its first one's record."""
    first, last = entries[0], entries[-1]
    found = counted(entries)
    return statement(
        predicate=Predicate.SERIES,
        kind="job",
        subject_id=first.subject_id,
        subject_digest=first.digest,
        body={
            "tenant": log.tenant_id,
            "region": log.region,
            "refusal": None if refusal is None else refusal.hex(),
            "count": found.size,
            "first": first.document(),
            "last": last.document(),
            "root": found.root.hex(),
        },
    )


def told(payload: bytes) -> Counted | None:
    """Return what a counting record's bytes say; None for bytes that say no such thing."""
    try:
        said: Any = json.loads(payload)["predicate"]
        return Counted(int(said["count"]), bytes.fromhex(said["root"]))
    except (ValueError, LookupError, TypeError):
        return None


def alike(body: Any) -> str:
    """Return what refusals have in common, as a digest: all that a record says of one, but for its own.

    Its own are its params, its time, and the ids and ages of the answers about it. `body` is a refusal's predicate.
    """
    common = {name: value for name, value in body.items() if name not in {"params_digest", "submitted_at"}}
    common["decisions"] = {
        point: {name: value for name, value in answer.items() if name not in {"decision_id", "age_s"}}
        for point, answer in body["decisions"].items()
    }
    return hashlib.sha256(canonical(common)).hexdigest()
