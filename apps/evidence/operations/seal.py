"""Sealing: committed records get their numbers, their logs grow by them, and a checkpoint is signed over each log.

Writers of records take no lock and know nothing of it. Whoever seals holds one advisory lock to the end of its
transaction, so that numbers have no gaps and no two checkpoints of one size exist; of two sealers at once, one waits.
All of a step or nothing of it is committed; a sealer that dies leaves unnumbered what it had not committed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import structlog
from django.db import IntegrityError, transaction

from apps.core.database import PreparingCursor, preparing
from apps.evidence import merkle, nodes
from apps.evidence.heads import Heads
from apps.evidence.logs import EPOCH, Columns, Log, checkpoint_id, columns_hash, nodes_id
from apps.evidence.notes import BadNoteError, Checkpoint
from apps.evidence.ring import KeyRing

logger = structlog.stdlib.get_logger(__name__)

LOCK = 0x6F707313
COLUMNS_LEVEL = -1  # of the rows of `evidence_nodes` that hold digests of columns
LOCKED = "SELECT pg_advisory_xact_lock(%s)"

FRESH = """
SELECT record_id, kind, subject_id, predicate, fence, created_at, tenant_id, region, leaf, clock_timestamp()
  FROM evidence_records
 WHERE number IS NULL AND NOT (tenant_id || ' ' || region = ANY (%(held)s::text[]))
   AND (%(only)s::text IS NULL OR tenant_id || ' ' || region = %(only)s)
 ORDER BY created_at, record_id LIMIT %(limit)s
"""

LATEST = """
SELECT c.tenant_id, c.region, c.size, c.root, c.peaks, c.note
  FROM unnest(%(tenants)s::text[], %(regions)s::text[]) AS l(tenant_id, region)
 CROSS JOIN LATERAL (
    SELECT tenant_id, region, size, root, peaks, note FROM evidence_checkpoints
     WHERE tenant_id = l.tenant_id AND region = l.region ORDER BY size DESC LIMIT 1) AS c
"""

NUMBER = """
UPDATE evidence_records AS r SET number = n.number
  FROM unnest(%(ids)s::uuid[], %(numbers)s::bigint[]) AS n(record_id, number)
 WHERE r.record_id = n.record_id AND coalesce(r.number, -1) = -1
"""

STORE = """
INSERT INTO evidence_nodes (nodes_id, tenant_id, region, size, level, first, hashes)
SELECT * FROM unnest(%(ids)s::uuid[], %(tenants)s::text[], %(regions)s::text[], %(sizes)s::bigint[],
                     %(levels)s::smallint[], %(firsts)s::bigint[], %(hashes)s::bytea[])
"""

SIGN = """
INSERT INTO evidence_checkpoints (checkpoint_id, tenant_id, region, start, size, root, note, peaks, created_at)
SELECT * FROM unnest(%(ids)s::uuid[], %(tenants)s::text[], %(regions)s::text[], %(starts)s::bigint[],
                     %(sizes)s::bigint[], %(roots)s::bytea[], %(notes)s::text[], %(peaks)s::bytea[],
                     %(instants)s::timestamptz[])
"""


class LogBrokenError(RuntimeError):
    """A log is not what was last signed of it: nothing may be signed upon it until a person has looked."""


class ConflictError(RuntimeError):
    """Rows stand where the sealer alone may write; `logs` are those of the step, and one of them holds the rows."""

    def __init__(self, logs: Collection[Log], *, cause: str) -> None:
        super().__init__(cause)
        self.logs = list(logs)


class Fresh(NamedTuple):
    """A record without a number."""

    columns: Columns
    leaf: bytes


@dataclass(frozen=True, kw_only=True)
class Sealed:
    """What became of one log in a step: its new checkpoint, committed, and the records under it, oldest first."""

    log: Log
    start: int
    tree: merkle.Tree
    checkpoint: Checkpoint
    note: str
    sealed_at: datetime
    records: Sequence[Fresh] = field(repr=False)
    digests: Sequence[bytes] = field(repr=False)  # of the records' columns: signed and stored, and worth making once


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a step did: the records it looked at, the logs it sealed, and those it found broken, with the reason."""

    seen: int = 0
    sealed: Sequence[Sealed] = ()
    broken: dict[Log, str] = field(default_factory=dict)


def seal(*, limit: int, ring: KeyRing, heads: Heads, held: Collection[Log] = (), only: Log | None = None) -> Step:
    """Seal the oldest unsealed records, at most `limit`, of all logs but `held` (or of `only` one); say what was done.

    In the control role. A log that does not continue what was last signed of it, here or in `heads`, is left as it is
    and named. Raises `ConflictError`, with nothing done, where forged rows stand in the way.
    """
    logs: dict[Log, list[Fresh]] = {}
    step = Step()
    try:
        with transaction.atomic(), preparing() as cursor:
            cursor.execute(LOCKED, [LOCK])
            logs, now = _fresh(cursor, limit=limit, held=held, only=only)
            step = _sealed(cursor, logs, ring=ring, heads=heads, now=now)
            _write(cursor, step.sealed)
    except IntegrityError as error:
        raise ConflictError(logs, cause=str(error).strip().splitlines()[0]) from error
    for each in step.sealed:
        try:
            heads.keep(each.log, each.checkpoint, note=each.note)
        except (
            OSError
        ) as error:  # a full disk: the log is sealed all the same, and the file is behind until the next step
            logger.error("evidence_head_not_kept", origin=each.log.origin, error=error.strerror)  # noqa: TRY400 - it is told
    return step


def _fresh(
    cursor: PreparingCursor, *, limit: int, held: Collection[Log], only: Log | None
) -> tuple[dict[Log, list[Fresh]], datetime]:
    """Return the unsealed records by log, oldest first, and the database's time."""
    values = {"limit": limit, "held": [" ".join(log) for log in held], "only": only and " ".join(only)}
    cursor.execute(FRESH, values)
    logs: dict[Log, list[Fresh]] = {}
    now = EPOCH
    for *columns, tenant_id, region, leaf, now in cursor.fetchall():  # noqa: B007 - the last is as good as any
        logs.setdefault(Log(tenant_id, region), []).append(Fresh(Columns(*columns), bytes(leaf)))
    return logs, now


def _sealed(
    cursor: PreparingCursor, logs: dict[Log, list[Fresh]], *, ring: KeyRing, heads: Heads, now: datetime
) -> Step:
    """Let each log grow by its records, upon what was last signed of it."""
    if not logs:
        return Step()
    cursor.execute(LATEST, {"tenants": [log.tenant_id for log in logs], "regions": [log.region for log in logs]})
    latest = {Log(tenant_id, region): rest for tenant_id, region, *rest in cursor.fetchall()}
    sealed: list[Sealed] = []
    broken: dict[Log, str] = {}
    for log, records in logs.items():
        try:
            tree = _signed_tree(log, latest.get(log), ring=ring)
            _check_head(log, tree, heads=heads, ring=ring)
        except (LogBrokenError, BadNoteError, nodes.NodesMissingError) as error:
            broken[log] = str(error)
            continue
        grown = tree.grown([each.leaf for each in records])
        digests = [each.columns.digest() for each in records]
        checkpoint = Checkpoint(
            origin=log.origin,
            size=grown.size,
            root=grown.root,
            sealed_at=now.isoformat(),
            columns=columns_hash(digests),
        )
        note = ring.signed(checkpoint)
        sealed.append(
            Sealed(
                log=log,
                start=tree.size,
                tree=grown,
                checkpoint=checkpoint,
                note=note,
                sealed_at=now,
                records=records,
                digests=digests,
            )
        )
    return Step(seen=sum(map(len, logs.values())), sealed=sealed, broken=broken)


def _signed_tree(log: Log, latest: Sequence[Any] | None, *, ring: KeyRing) -> merkle.Tree:
    """Return the tree that the log's last checkpoint signed: the row must say what its note says."""
    if latest is None:
        return merkle.Tree()
    size, root, peaks, note = latest
    checkpoint = ring.opened(note, origin=log.origin)
    tree = merkle.Tree(size=size, peaks=merkle.split(bytes(peaks)))
    if (checkpoint.size, checkpoint.root) != (size, bytes(root)) or tree.root != checkpoint.root:
        raise LogBrokenError(f"the row of checkpoint {size} does not say what its note says")
    if len(tree.peaks) != size.bit_count():
        raise LogBrokenError(f"the row of checkpoint {size} has {len(tree.peaks)} peaks")
    return tree


def _check_head(log: Log, tree: merkle.Tree, *, heads: Heads, ring: KeyRing) -> None:
    """Raise `LogBrokenError` unless the log continues the last checkpoint that is known of it from outside."""
    known = heads.last(log, ring=ring)
    if known is None:
        return
    if known.size > tree.size:
        raise LogBrokenError(f"a checkpoint of size {known.size} was signed, and the log ends at {tree.size}")
    root = (
        tree.root if known.size == tree.size else nodes.proved(log, lambda node: merkle.root_at(known.size, node=node))
    )
    if root != known.root:
        raise LogBrokenError(f"at size {known.size} the log has another root than was signed")


def _write(cursor: PreparingCursor, sealed: Sequence[Sealed]) -> None:
    """Write numbers, nodes and checkpoints: three statements, whatever they are many of."""
    if not sealed:
        return
    numbers = [(one.columns.record_id, each.start + place) for each in sealed for place, one in enumerate(each.records)]
    cursor.execute(NUMBER, {"ids": [one for one, _ in numbers], "numbers": [number for _, number in numbers]})
    if cursor.rowcount != len(numbers):
        raise IntegrityError(f"{len(numbers) - cursor.rowcount} records were numbered by another hand meanwhile")
    rows = [(each, level, first, hashes) for each in sealed for level, first, hashes in _completed(each)]
    cursor.execute(
        STORE,
        {
            "ids": [
                nodes_id(log=e.log, level=level, first=first, sealed_at=e.sealed_at) for e, level, first, _ in rows
            ],
            "tenants": [each.log.tenant_id for each, *_ in rows],
            "regions": [each.log.region for each, *_ in rows],
            "sizes": [each.tree.size for each, *_ in rows],
            "levels": [level for _, level, _, _ in rows],
            "firsts": [first for _, _, first, _ in rows],
            "hashes": [hashes for *_, hashes in rows],
        },
    )
    cursor.execute(
        SIGN,
        {
            "ids": [checkpoint_id(note=each.note, sealed_at=each.sealed_at) for each in sealed],
            "tenants": [each.log.tenant_id for each in sealed],
            "regions": [each.log.region for each in sealed],
            "starts": [each.start for each in sealed],
            "sizes": [each.tree.size for each in sealed],
            "roots": [each.tree.root for each in sealed],
            "notes": [each.note for each in sealed],
            "peaks": [merkle.joined(each.tree.peaks) for each in sealed],
            "instants": [each.sealed_at for each in sealed],
        },
    )


def _completed(each: Sealed) -> list[tuple[int, int, bytes]]:
    """Return (level, first, hashes) of what a log's growth completed, the digests of columns with it."""
    rows = [(COLUMNS_LEVEL, each.start, merkle.joined(each.digests))]
    return rows + [(level, first, merkle.joined(hashes)) for level, (first, hashes) in each.tree.added.items()]
