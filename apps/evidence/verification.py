"""Verifying whole logs: each is walked from its first record to its last checkpoint, and what was touched is named.

Reads as it goes, a bounded part at a time; what is sealed while it reads is left for the next time. What the database
alone cannot tell, a log cut off at a checkpoint or signed anew from end to end, is told by checkpoints kept elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from apps.evidence import merkle, series, stored, tombstones
from apps.evidence.examination import MOST_A_STEP, Piece, about, continued, examine
from apps.evidence.findings import Finding, Kind, Report
from apps.evidence.heads import Heads
from apps.evidence.logs import Log
from apps.evidence.models import Predicate
from apps.evidence.notes import BadNoteError, Checkpoint
from apps.evidence.ring import KeyRing
from apps.evidence.stored import StoredCheckpoint, StoredNodes, StoredRecord

WINDOW = 20_000


def verify(
    *, ring: KeyRing, heads: Heads, more: Mapping[Log, Sequence[Checkpoint]] | None = None, only: Sequence[Log] = ()
) -> Iterator[Report]:
    """Verify every log of the current context (or `only` some), against checkpoints kept elsewhere: `heads`, `more`."""
    for log in sorted(only or {*stored.logs(), *heads.logs(), *(more or {})}):
        walk = _Walk(log=log, ring=ring)
        known = list((more or {}).get(log, ()))
        try:
            head = heads.last(log, ring=ring)
            known += [head] if head else []
        except BadNoteError as error:
            walk.find(Kind.HEAD_UNREADABLE, f"the checkpoint kept outside the database: {error}")
        yield walk.report(known)


@dataclass(kw_only=True)
class _Walk:
    """One log, as far as it was examined."""

    log: Log
    ring: KeyRing
    tree: merkle.Tree = field(default_factory=merkle.Tree)
    checkpoints: int = 0
    records: int = 0
    predicates: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    erased: int = 0
    _holes: dict[int, bytes] | None = None

    def report(self, known: Sequence[Checkpoint]) -> Report:
        """Walk the log and return what was found; `known` are checkpoints of it that were kept elsewhere."""
        for page in stored.checkpoints(self.log):
            window = _Window(self.log, low=self.tree.size, high=page[-1].size)
            for row in page:
                self._step(row, window=window, known=known)
        self._beyond()
        for each in known:
            if each.size > self.tree.size:
                says = f"a checkpoint of size {each.size} was signed, and the log ends at {self.tree.size}"
                self.find(Kind.LOG_TRUNCATED, says, number=self.tree.size)
        waiting = self._unsealed()
        return Report(
            log=self.log,
            size=self.tree.size,
            root=self.tree.root,
            checkpoints=self.checkpoints,
            records=self.records,
            erased=self.erased,
            unsealed=waiting,
            kept=max((each.size for each in known), default=None),
            predicates=dict(self.predicates),
            findings=self.findings,
        )

    def find(self, kind: Kind, says: str, *, number: int | None = None) -> None:
        """Add a finding about the log."""
        self.findings.append(Finding(kind=kind, log=self.log, number=number, says=says))

    def _step(self, row: StoredCheckpoint, *, window: _Window, known: Sequence[Checkpoint]) -> None:
        """Examine what one checkpoint was signed over, and go on from there."""
        self.checkpoints += 1
        opened: Checkpoint | None = None
        try:
            opened = self.ring.opened(row.note, origin=self.log.origin)
        except BadNoteError as error:
            self.find(Kind.CHECKPOINT_CHANGED, f"the checkpoint of size {row.size}: {error}", number=row.size)
        size = opened.size if opened else row.size
        if size <= self.tree.size:
            says = f"a checkpoint of size {size} stands where the log is at {self.tree.size} already"
            self.find(Kind.CHECKPOINT_FORGED, says, number=row.size)
            return
        spare = row.start > self.tree.size
        if spare:
            says = f"between sizes {self.tree.size} and {row.size} a checkpoint of size {row.start} is missing"
            self.find(Kind.CHECKPOINT_MISSING, says, number=row.start)
        elif row.start < self.tree.size:
            says = f"the checkpoint of size {row.size} says that it continues {row.start}, not {self.tree.size}"
            self.find(Kind.CHECKPOINT_CHANGED, says, number=row.size)
        records, nodes = window.between(self.tree.size, size)
        if size - self.tree.size > 2 * (len(records) + sum(len(each.hashes) for each in nodes)) + MOST_A_STEP:
            says = f"the checkpoint of size {size} is signed over numbers from {self.tree.size} on that are not there"
            self.find(Kind.CHECKPOINT_FORGED if opened is None else Kind.RECORD_MISSING, says, number=self.tree.size)
            if opened is not None:
                self.tree = continued(row, None, size=size, root=opened.root) or self.tree
            return
        before = self.tree
        examined = examine(
            Piece(log=self.log, row=row, opened=opened, size=size, records=records, rows=nodes, spare=spare),
            before,
            explained=self._explained,
            sealed_at=lambda leaf: stored.sealed_at(self.log, leaf=leaf),
        )
        self.findings += examined.findings
        self.tree = examined.tree
        self.records += len(records)
        self.predicates.update(each.columns.predicate for each in records.values())
        for each in records.values():
            if each.columns.predicate == Predicate.SERIES:
                self._recount(each)
        self._compare_kept(known, before, examined.leaves)

    def _recount(self, record: StoredRecord) -> None:
        """Compare what a series' record counted with what is stored of the series; erased bytes tell nothing more."""
        if record.payload is None:
            return
        entries = stored.series(self.log, subject_id=record.columns.subject_id)
        told, now = series.told(record.payload), series.counted(entries)
        if told != now:
            says = f"the series counted {told.size if told else 'no'} refusals, and {now.size} are stored, or others"
            self.findings.append(about(record, kind=Kind.SERIES_CHANGED, log=self.log, says=says))

    def _compare_kept(self, known: Sequence[Checkpoint], before: merkle.Tree, leaves: Sequence[bytes | None]) -> None:
        """Compare the tree as it is now known with checkpoints kept elsewhere whose size lies in this step."""
        for each in known:
            if not before.size < each.size <= before.size + len(leaves):
                continue
            upto = [leaf for leaf in leaves[: each.size - before.size] if leaf is not None]
            if len(upto) == each.size - before.size and before.grown(upto).root != each.root:
                says = f"at size {each.size} the log has another root than the checkpoint kept outside the database"
                self.find(Kind.LOG_REWRITTEN, says, number=each.size)

    def _beyond(self) -> None:
        """Name what stands under no checkpoint and yet says that it was sealed."""
        for record in stored.beyond(self.log, limit=MOST_A_STEP):
            says = f"number {record.number} was given to a record that no checkpoint was signed over"
            self.findings.append(about(record, kind=Kind.RECORD_FORGED, log=self.log, says=says))
        for row in stored.stray_nodes(self.log, limit=MOST_A_STEP):
            says = (
                f"nodes of level {row.level} from {row.first} are said to be of size {row.size}, which was not signed"
            )
            self.find(Kind.NODES_FORGED, says, number=row.first)

    def _unsealed(self) -> int:
        """Look at what waits for its seal: all that can be said of it is whether it agrees with itself."""
        waiting = 0
        for record in stored.unsealed(self.log):
            waiting += 1
            self.predicates[record.columns.predicate] += 1
            if record.columns.predicate == Predicate.SERIES:
                self._recount(record)
            if record.computed != record.leaf:
                says = "a record that waits for its seal: the bytes were changed after they were written"
                self.findings.append(about(record, kind=Kind.RECORD_CHANGED, log=self.log, says=says))
        return waiting

    def _explained(self, record: StoredRecord) -> bool:
        """Return whether a tombstone of the log accounts for a record without its bytes."""
        if self._holes is None:
            self._holes = tombstones.explained(self.log, stored.tombstones(self.log), ring=self.ring)
        explained = record.salt is None and self._holes.get(record.number) == record.leaf
        self.erased += explained
        return explained


class _Window:
    """A log's rows over several steps, read at once where they are few: most steps seal a handful of records."""

    def __init__(self, log: Log, *, low: int, high: int) -> None:
        self._log = log
        self._held = high - low <= WINDOW
        self._records = self._read_records(low, high) if self._held else {}
        self._nodes = stored.nodes(log, low=low, high=high) if self._held else []

    def between(self, low: int, high: int) -> tuple[dict[int, StoredRecord], list[StoredNodes]]:
        """Return the records numbered from `low` up to `high`, and the nodes of the sizes above `low` up to `high`."""
        if not self._held:
            return self._read_records(low, high), stored.nodes(self._log, low=low, high=high)
        if high - low > len(self._records):  # a size that nobody signed may be any number
            records = {number: each for number, each in self._records.items() if low <= number < high}
        else:
            numbers = range(low, high)
            records = {number: self._records[number] for number in numbers if number in self._records}
        return records, [each for each in self._nodes if low < each.size <= high]

    def _read_records(self, low: int, high: int) -> dict[int, StoredRecord]:
        return {each.number: each for each in stored.records(self._log, low=low, high=high)}
