"""Examining one step of a log: the records, nodes and checkpoint that one seal put there, against each other. Pure.

What is right is decided by the root that was signed. The leaves are stored twice, in the records and in the nodes of
level 0, and the records' own bytes make them a third time: whichever of these leads to the signed root is taken for
what was sealed, and what differs from it was touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from apps.evidence import logs, merkle
from apps.evidence.findings import Finding, Kind
from apps.evidence.logs import Log
from apps.evidence.notes import Checkpoint
from apps.evidence.stored import StoredCheckpoint, StoredNodes, StoredRecord

COLUMNS_LEVEL = -1
MOST_A_STEP = 20  # of each kind: who forged a thousand rows is named as well by twenty

Nodes = Mapping[tuple[int, int], bytes]
Leaves = list[bytes | None]


@dataclass(frozen=True, kw_only=True)
class Piece:
    """What is stored of one step: the numbers from the tree's size up to the checkpoint's, and all that goes with them.

    `opened` is what the checkpoint's note says, None if the note is not to be believed. `spare` says that a checkpoint
    before this one is missing, so that this one's numbers were sealed by more than one step.
    """

    log: Log
    row: StoredCheckpoint
    opened: Checkpoint | None
    size: int
    records: Mapping[int, StoredRecord]
    rows: Sequence[StoredNodes]
    spare: bool


@dataclass(kw_only=True)
class Examined:
    """What examining a step came to: the tree after it, and what was found."""

    tree: merkle.Tree
    leaves: Leaves
    findings: list[Finding] = field(default_factory=list)


def examine(
    piece: Piece,
    tree: merkle.Tree,
    *,
    explained: Callable[[StoredRecord], bool],
    sealed_at: Callable[[bytes], int | None],
) -> Examined:
    """Compare a step's rows with each other and with what was signed. `tree` is the tree before it.

    `explained` says of a record without its bytes whether their erasure is accounted for; `sealed_at` finds the number
    under which a leaf was sealed.
    """
    nodes = _spread(piece.rows)
    root = piece.opened.root if piece.opened else piece.row.root
    leaves, grown = _sealed_leaves(piece, tree, nodes, root=root)
    found = Examined(tree=tree, leaves=leaves)
    for each in (
        _of_records(piece, tree.size, leaves, explained=explained, sealed_at=sealed_at),
        _of_columns(piece, tree.size, nodes),
        _of_nodes(piece, tree.size, nodes, grown),
        _of_checkpoint(piece, grown, root=root),
    ):
        found.findings += each
    found.tree = continued(piece.row, grown, size=piece.size, root=root) or grown or tree
    return found


def _spread(rows: Sequence[StoredNodes]) -> dict[tuple[int, int], bytes]:
    """Return rows of nodes by (level, index)."""
    return {(row.level, row.first + place): node for row in rows for place, node in enumerate(row.hashes)}


def _sealed_leaves(piece: Piece, tree: merkle.Tree, nodes: Nodes, *, root: bytes) -> tuple[Leaves, merkle.Tree | None]:
    """Return the step's leaves as they were sealed, and the tree with them; None where some are lost for good."""
    numbers = range(tree.size, piece.size)
    in_nodes: Leaves = [nodes.get((0, number)) for number in numbers]
    records = [piece.records.get(number) for number in numbers]
    in_records: Leaves = [each and each.leaf for each in records]
    made: Leaves = [each and (each.computed or each.leaf) for each in records]
    by_most: Leaves = [_most(versions) for versions in zip(in_nodes, in_records, made, strict=True)]
    best: tuple[Leaves, merkle.Tree] | None = None
    for leaves in (in_nodes, in_records, made, by_most):
        if all(each is not None and len(each) == merkle.HASH_BYTES for each in leaves):
            grown = tree.grown([each for each in leaves if each is not None])
            if grown.root == root:
                return leaves, grown
            best = best or (leaves, grown)
    return best or (by_most, None)


def _most(versions: tuple[bytes | None, ...]) -> bytes | None:
    """Return what most of the versions say; the first that says anything where they all differ."""
    said = [each for each in versions if each is not None]
    return max(said, key=said.count) if said else None


def _of_records(
    piece: Piece,
    start: int,
    leaves: Leaves,
    *,
    explained: Callable[[StoredRecord], bool],
    sealed_at: Callable[[bytes], int | None],
) -> Iterator[Finding]:
    missing = 0
    for number, leaf in enumerate(leaves, start):
        record = piece.records.get(number)
        if record is None:
            missing += 1
            if missing <= MOST_A_STEP:
                says = f"number {number} was sealed, and its record is not there"
                yield Finding(kind=Kind.RECORD_MISSING, log=piece.log, number=number, says=says)
            continue
        if record.leaf == leaf and record.computed is None:
            if not explained(record):
                says = f"number {number} lost its bytes, and nothing in the log explains it"
                yield about(record, kind=Kind.RECORD_CHANGED, log=piece.log, says=says)
        elif record.leaf == leaf:
            if record.computed != leaf:
                says = f"number {number}: the bytes were changed after they were written"
                yield about(record, kind=Kind.RECORD_CHANGED, log=piece.log, says=says)
        elif record.computed == leaf:
            says = f"number {number}: its leaf was changed after it was sealed"
            yield about(record, kind=Kind.RECORD_CHANGED, log=piece.log, says=says)
        elif (place := sealed_at(record.leaf)) is not None:
            says = f"number {number} holds the record that was sealed as number {place}"
            yield about(record, kind=Kind.RECORD_MOVED, log=piece.log, says=says)
        else:
            says = f"number {number}: the record was replaced by another than was sealed"
            yield about(record, kind=Kind.RECORD_REPLACED, log=piece.log, says=says)


def _of_columns(piece: Piece, start: int, nodes: Nodes) -> Iterator[Finding]:
    """Compare the columns beside the payload with their digests, and these with what the checkpoint signed."""
    numbers = range(start, piece.size)
    kept = [nodes.get((COLUMNS_LEVEL, number), b"") for number in numbers]
    signed = piece.opened.columns if piece.opened and not piece.spare else None
    if signed is not None and logs.columns_hash(kept) != signed:
        says = f"the digests of columns of numbers {start} to {piece.size - 1} are not those that were signed"
        yield Finding(kind=Kind.NODES_CHANGED, log=piece.log, number=start, says=says)
        now = [record.columns.digest() if (record := piece.records.get(number)) else b"" for number in numbers]
        if logs.columns_hash(now) == signed:
            return
    for number, digest in zip(numbers, kept, strict=True):
        record = piece.records.get(number)
        if record is not None and record.columns.digest() != digest:
            says = f"number {number}: its id, subject, predicate, fence or time is not what was sealed"
            yield about(record, kind=Kind.COLUMNS_CHANGED, log=piece.log, says=says)


def _of_nodes(piece: Piece, start: int, nodes: Nodes, grown: merkle.Tree | None) -> Iterator[Finding]:
    expected: dict[tuple[int, int], bytes | None] = {
        (COLUMNS_LEVEL, number): None for number in range(start, piece.size)
    }
    if grown is not None:
        for level, (first, hashes) in grown.added.items():
            expected |= {(level, first + place): node for place, node in enumerate(hashes)}
        yield from _each(piece, Kind.NODES_MISSING, "is not there", [at for at in expected if at not in nodes])
        forged = [at for at in nodes if at not in expected]
        yield from _each(piece, Kind.NODES_FORGED, "was stored by nobody who may", forged)
        changed = [at for at, node in expected.items() if node is not None and nodes.get(at, node) != node]
        yield from _each(piece, Kind.NODES_CHANGED, "is not the hash of what is below it", changed)
    if piece.spare:
        return
    for row in piece.rows:
        identity = logs.nodes_id(log=piece.log, level=row.level, first=row.first, sealed_at=piece.row.created_at)
        if row.nodes_id != identity or row.size != piece.size:
            says = (
                f"the row of level {row.level} from {row.first} is not the one that the step of size {piece.size} wrote"
            )
            yield Finding(kind=Kind.NODES_CHANGED, log=piece.log, number=piece.size, says=says)


def _each(piece: Piece, kind: Kind, wrong: str, places: list[tuple[int, int]]) -> Iterator[Finding]:
    for level, index in sorted(places)[:MOST_A_STEP]:
        what = f"node {index} of level {level}" if level >= 0 else f"the digest of the columns of number {index}"
        yield Finding(kind=kind, log=piece.log, number=index, says=f"{what} {wrong}")


def _of_checkpoint(piece: Piece, grown: merkle.Tree | None, *, root: bytes) -> Iterator[Finding]:
    """Compare the row with its note, and the note with the tree. (A note that is not to be believed is told before.)"""
    row, opened = piece.row, piece.opened
    wrong = []
    if opened is not None:
        if (opened.size, opened.root, opened.sealed_at) != (row.size, row.root, row.created_at.isoformat()):
            wrong.append("its columns do not say what its note says")
        if row.checkpoint_id != logs.checkpoint_id(note=row.note, sealed_at=row.created_at):
            wrong.append("its id is not that of its note")
    if grown is not None:
        if grown.root != root:
            wrong.append("its root is not that of the records")
        if row.peaks != grown.peaks and grown.root == root:
            wrong.append("its peaks are not those of the tree")
    for each in wrong:
        kind = Kind.CHECKPOINT_CHANGED
        yield Finding(kind=kind, log=piece.log, number=piece.size, says=f"the checkpoint of size {piece.size}: {each}")


def continued(row: StoredCheckpoint, grown: merkle.Tree | None, *, size: int, root: bytes) -> merkle.Tree | None:
    """Return the tree that `root` was signed over: as recomputed, or as the row's peaks say; None if neither has it."""
    told = merkle.Tree(size=size, peaks=row.peaks)
    if grown is not None and grown.root == root:
        return grown
    return told if len(told.peaks) == size.bit_count() and told.root == root else None


def about(record: StoredRecord, *, kind: Kind, log: Log, says: str) -> Finding:
    """Return a finding about a record."""
    columns: Any = record.columns
    return Finding(
        kind=kind,
        log=log,
        says=says,
        number=record.number,
        record_id=columns.record_id,
        subject_id=columns.subject_id,
        predicate=columns.predicate,
    )
