"""Random harm to evidence logs by raw SQL, each with what an examination must say of it: the kind, and where.

What is expected is a set of alternatives: any one of them names the harm. A forger who rewrites several tables at once
may be named by what does not fit any more, rather than by what was aimed at.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import connection

from apps.evidence import merkle, notes
from apps.evidence.findings import Finding, Kind
from apps.evidence.logs import Log
from apps.evidence.statements import leaf_of

CHECKPOINT_COLUMNS = "checkpoint_id, tenant_id, region, start, size, root, note, peaks, created_at"
STRANGER = Ed25519PrivateKey.from_private_bytes(b"s" * 32)


class Named(NamedTuple):
    """A finding that names the harm: its kind, and the number it must give (None: it is of the log)."""

    kind: Kind
    number: int | None = None


@dataclass(kw_only=True)
class Scene:
    """A log as it is before the harm."""

    log: Log
    dice: random.Random
    size: int
    sizes: Sequence[int]
    expected: set[Named] = field(default_factory=set)

    def number(self) -> int:
        return self.dice.randrange(self.size)

    def run(self, statement: str, **values: Any) -> int:
        """Run raw SQL in which `{log}` selects the rows of this log; return how many rows it touched."""
        where = "tenant_id = %(tenant)s AND region = %(region)s"
        with connection.cursor() as cursor:
            named = {"tenant": self.log.tenant_id, "region": self.log.region}
            cursor.execute(statement.replace("{log}", where), named | values)
            return int(cursor.rowcount)

    def ask(self, question: str, **values: Any) -> list[tuple[Any, ...]]:
        where = "tenant_id = %(tenant)s AND region = %(region)s"
        with connection.cursor() as cursor:
            named = {"tenant": self.log.tenant_id, "region": self.log.region}
            cursor.execute(question.replace("{log}", where), named | values)
            return list(cursor.fetchall())

    def expect(self, *named: Named) -> None:
        self.expected |= set(named)

    def flipped(self, column: str, at: int) -> str:
        """Return the SQL that flips a bit of a column's byte."""
        return f"{column} = set_byte({column}, {at}, get_byte({column}, {at}) # {1 << self.dice.randrange(8)})"


def found(scene: Scene, findings: Sequence[Finding]) -> bool:
    """Return whether the findings name the harm."""
    said = {Named(each.kind, each.number) for each in findings if each.log == scene.log}
    return bool(said & scene.expected) or bool({Named(each.kind) for each in findings} & scene.expected)


def record_byte(scene: Scene) -> None:
    """A bit of a record's payload, salt or leaf."""
    number, column = scene.number(), scene.dice.choice(("payload", "salt", "leaf"))
    at = scene.dice.randrange(16)
    assert scene.run(
        f"UPDATE evidence_records SET {scene.flipped(column, at)} WHERE {{log}} AND number = %(n)s", n=number
    )
    scene.expect(Named(Kind.RECORD_CHANGED, number))


def record_rewritten(scene: Scene) -> None:
    """Another statement, whole in itself: payload, salt and leaf fit."""
    number, payload, salt = scene.number(), b'{"outcome":"succeeded"}', scene.dice.randbytes(16)
    update = "UPDATE evidence_records SET payload = %(p)s, salt = %(s)s, leaf = %(l)s WHERE {log} AND number = %(n)s"
    assert scene.run(update, p=payload, s=salt, l=leaf_of(payload=payload, salt=salt), n=number)
    scene.expect(Named(Kind.RECORD_REPLACED, number))
    if scene.dice.random() < 0.5:  # and the leaf in the nodes as well: then the tree above does not fit
        scene.run(
            "UPDATE evidence_nodes SET hashes = overlay(hashes placing %(l)s from (%(n)s - first)::int * 32 + 1)"
            " WHERE {log} AND level = 0 AND first <= %(n)s AND size > %(n)s",
            l=leaf_of(payload=payload, salt=salt),
            n=number,
        )
        step = min(size for size in scene.sizes if size > number)
        scene.expected = {Named(Kind.CHECKPOINT_CHANGED, step)}


def record_column(scene: Scene) -> None:
    """A column that no leaf holds."""
    number = scene.number()
    column, value = scene.dice.choice(
        [
            ("subject_id", "'another'"),
            ("fence", "fence + 1"),
            ("kind", "'log'"),
            ("created_at", "created_at - interval '1 microsecond'"),
            ("record_id", "gen_random_uuid()"),
            ("predicate", "CASE predicate WHEN 'refusal' THEN 'outcome' ELSE 'refusal' END"),
        ]
    )
    assert scene.run(f"UPDATE evidence_records SET {column} = {value} WHERE {{log}} AND number = %(n)s", n=number)
    scene.expect(Named(Kind.COLUMNS_CHANGED, number))


def record_deleted(scene: Scene) -> None:
    """Some records are taken out."""
    first = scene.number()
    last = min(scene.size - 1, first + scene.dice.choice((0, 0, 1, 3)))
    where = "{log} AND number BETWEEN %(a)s AND %(b)s"
    assert scene.run(f"DELETE FROM evidence_records WHERE {where}", a=first, b=last)
    scene.expect(Named(Kind.RECORD_MISSING, first))


def record_unnumbered(scene: Scene) -> None:
    """A record is made to look as if it waited for its seal."""
    number = scene.number()
    assert scene.run("UPDATE evidence_records SET number = NULL WHERE {log} AND number = %(n)s", n=number)
    scene.expect(Named(Kind.RECORD_MISSING, number))


def records_swapped(scene: Scene) -> None:
    """Two records change places."""
    one, other = scene.dice.sample(range(scene.size), 2)
    for old, new in ((one, -1), (other, one), (-1, other)):
        assert scene.run(
            "UPDATE evidence_records SET number = %(new)s WHERE {log} AND number = %(old)s", old=old, new=new
        )
    scene.expect(Named(Kind.RECORD_MOVED, one))


def record_moved_away(scene: Scene) -> None:
    """A record is given to another tenant, or another region."""
    number = scene.number()
    column, value = scene.dice.choice([("tenant_id", "sandbox"), ("region", "elsewhere")])
    assert scene.run(
        f"UPDATE evidence_records SET {column} = %(v)s WHERE {{log}} AND number = %(n)s", v=value, n=number
    )
    scene.expect(Named(Kind.RECORD_MISSING, number))


def forged_append(scene: Scene) -> None:
    """A record nobody wrote is put at the end: alone, with nodes, or with nodes and a checkpoint of the forger's."""
    payload, salt = b'{"outcome":"succeeded"}', scene.dice.randbytes(16)
    leaf = leaf_of(payload=payload, salt=salt)
    insert = (
        "INSERT INTO evidence_records (record_id, tenant_id, region, kind, subject_id, fence, predicate, payload, salt,"
        " leaf, number, state, tries, created_at)"
        " VALUES (gen_random_uuid(), %(tenant)s, %(region)s, 'job', %(subject)s, 1, 'outcome', %(p)s, %(s)s, %(l)s,"
        " %(n)s, 'pending', 0, now())"
    )
    assert scene.run(insert, subject=str(uuid4()), p=payload, s=salt, l=leaf, n=scene.size)
    scene.expect(Named(Kind.RECORD_FORGED, scene.size))
    how = scene.dice.choice(("alone", "nodes", "copied", "stranger"))
    if how == "alone":
        return
    ((peaks, note),) = scene.ask("SELECT peaks, note FROM evidence_checkpoints WHERE {log} ORDER BY size DESC LIMIT 1")
    tree = merkle.Tree(size=scene.size, peaks=merkle.split(bytes(peaks))).grown([leaf])
    for level, (first, hashes) in tree.added.items():
        scene.run(
            "INSERT INTO evidence_nodes (nodes_id, tenant_id, region, size, level, first, hashes)"
            " VALUES (gen_random_uuid(), %(tenant)s, %(region)s, %(size)s, %(level)s, %(first)s, %(hashes)s)",
            size=tree.size,
            level=level,
            first=first,
            hashes=merkle.joined(hashes),
        )
    if how == "nodes":
        return
    if how == "stranger":
        text = notes.Checkpoint(origin=scene.log.origin, size=tree.size, root=tree.root).text()
        note = notes.signed(text, name=scene.log.origin, keys=[STRANGER])
    scene.run(
        f"INSERT INTO evidence_checkpoints ({CHECKPOINT_COLUMNS})"
        " VALUES (gen_random_uuid(), %(tenant)s, %(region)s, %(start)s, %(size)s, %(root)s, %(note)s, %(peaks)s,"
        " now())",
        start=scene.size,
        size=tree.size,
        root=tree.root,
        note=note,
        peaks=merkle.joined(tree.peaks),
    )
    kind = Kind.CHECKPOINT_CHANGED if how == "stranger" else Kind.CHECKPOINT_FORGED
    scene.expected = {Named(kind, tree.size)}


def truncated(scene: Scene) -> None:
    """The end is cut off: of the records, with their nodes, or whole steps with their checkpoints."""
    how = scene.dice.choice(("records", "nodes", "steps"))
    cut = scene.dice.choice([0, *scene.sizes[:-1]]) if how == "steps" else scene.number()
    assert scene.run("DELETE FROM evidence_records WHERE {log} AND number >= %(n)s", n=cut)
    if how == "records":
        scene.expect(Named(Kind.RECORD_MISSING, cut))
        return
    scene.run("DELETE FROM evidence_nodes WHERE {log} AND size > %(n)s", n=cut)
    if how == "steps":
        assert scene.run("DELETE FROM evidence_checkpoints WHERE {log} AND size > %(n)s", n=cut)
        scene.expect(Named(Kind.LOG_TRUNCATED, cut))
    else:
        scene.expect(Named(Kind.RECORD_MISSING))


def _some_nodes(scene: Scene) -> tuple[Any, int, int, int, int]:
    rows = scene.ask("SELECT nodes_id, size, level, first, length(hashes) FROM evidence_nodes WHERE {log} ORDER BY 1")
    return scene.dice.choice(rows)


def node_byte(scene: Scene) -> None:
    """A bit of a node's hash."""
    row, _, _, first, length = _some_nodes(scene)
    at = scene.dice.randrange(length)
    assert scene.run(f"UPDATE evidence_nodes SET {scene.flipped('hashes', at)} WHERE nodes_id = %(id)s", id=row)
    scene.expect(*(Named(Kind.NODES_CHANGED, number) for number in range(first, first + length // 32)))


def nodes_deleted(scene: Scene) -> None:
    """A row of nodes is taken away."""
    row, _, _, first, _ = _some_nodes(scene)
    assert scene.run("DELETE FROM evidence_nodes WHERE nodes_id = %(id)s", id=row)
    scene.expect(Named(Kind.NODES_MISSING, first))


def nodes_shifted(scene: Scene) -> None:
    """A row of nodes says that it stands elsewhere, or loses or gains hashes, or its id."""
    row, size, _, first, length = _some_nodes(scene)
    column, value = scene.dice.choice(
        [
            ("first", "first + 1000"),
            ("level", "40"),
            ("size", "size + 1000"),
            ("hashes", "hashes || sha256('')"),
            ("hashes", "substr(hashes, 1, length(hashes) - 1)"),
            ("nodes_id", "gen_random_uuid()"),
        ]
    )
    assert scene.run(f"UPDATE evidence_nodes SET {column} = {value} WHERE nodes_id = %(id)s", id=row)
    numbers = range(first, first + length // 32 + 1)
    for kind in (Kind.NODES_MISSING, Kind.NODES_FORGED, Kind.NODES_CHANGED):
        scene.expect(*(Named(kind, number) for number in numbers), Named(kind, size))


def nodes_forged(scene: Scene) -> None:
    """Nodes that no step wrote."""
    level, first, size = (
        scene.dice.randrange(-1, 5),
        scene.size + scene.dice.randrange(50),
        scene.dice.choice(scene.sizes),
    )
    scene.run(
        "INSERT INTO evidence_nodes (nodes_id, tenant_id, region, size, level, first, hashes)"
        " VALUES (gen_random_uuid(), %(tenant)s, %(region)s, %(size)s, %(level)s, %(first)s, sha256(''))",
        size=size,
        level=level,
        first=first,
    )
    scene.expect(Named(Kind.NODES_FORGED, first))


def checkpoint_column(scene: Scene) -> None:
    """A column of a checkpoint."""
    place = scene.dice.randrange(len(scene.sizes))
    size = scene.sizes[place]
    column, value = scene.dice.choice(
        [
            ("root", "sha256(root)"),
            ("peaks", "sha256('') || peaks"),
            ("peaks", "''::bytea"),
            ("start", "start + CASE WHEN size > start + 1 THEN 1 ELSE -1 END"),
            ("size", "size + 1000"),
            ("created_at", "created_at + interval '1 microsecond'"),
            ("checkpoint_id", "gen_random_uuid()"),
            ("region", "'elsewhere'"),
            ("note", "replace(note, 'sealed 20', 'sealed 19')"),
            ("note", "note || 'more'"),
            ("note", "''"),
        ]
    )
    if (column, scene.ask("SELECT start FROM evidence_checkpoints WHERE {log} AND size = %(s)s", s=size)) == (
        "start",
        [(0,)],
    ):
        column, value = "root", "sha256(root)"  # the first starts at 0, and PostgreSQL refuses -1
    assert scene.run(f"UPDATE evidence_checkpoints SET {column} = {value} WHERE {{log}} AND size = %(s)s", s=size)
    scene.expect(Named(Kind.CHECKPOINT_CHANGED, size), Named(Kind.CHECKPOINT_MISSING, size))
    if column in {"size", "region"} and place == len(scene.sizes) - 1:
        scene.expect(Named(Kind.LOG_TRUNCATED), Named(Kind.CHECKPOINT_CHANGED, size + 1000))
    if column == "start":
        scene.expect(*(Named(Kind.CHECKPOINT_MISSING, number) for number in range(scene.size)))


def checkpoint_byte(scene: Scene) -> None:
    """A letter of a signed note."""
    size = scene.dice.choice(scene.sizes)
    ((note,),) = scene.ask("SELECT note FROM evidence_checkpoints WHERE {log} AND size = %(s)s", s=size)
    at = scene.dice.randrange(len(note))
    other = scene.dice.choice([letter for letter in "aZ09+/ \n" if letter != note[at]])
    changed = note[:at] + other + note[at + 1 :]
    assert scene.run("UPDATE evidence_checkpoints SET note = %(n)s WHERE {log} AND size = %(s)s", n=changed, s=size)
    scene.expect(Named(Kind.CHECKPOINT_CHANGED, size))


def checkpoint_deleted(scene: Scene) -> None:
    """A checkpoint is taken out."""
    size = scene.dice.choice(scene.sizes)
    assert scene.run("DELETE FROM evidence_checkpoints WHERE {log} AND size = %(s)s", s=size)
    scene.expect(Named(Kind.CHECKPOINT_MISSING, size))
    if size == scene.sizes[-1]:
        scene.expected = {Named(Kind.LOG_TRUNCATED, scene.sizes[-2])}


def checkpoints_swapped(scene: Scene) -> None:
    """Two checkpoints change their notes, roots and peaks."""
    one, other = scene.dice.sample(list(scene.sizes), 2)
    columns = scene.dice.choice((("note",), ("note", "root", "peaks"), ("root",)))
    sets = ", ".join(f"{column} = b.{column}" for column in columns)
    swap = (
        f"UPDATE evidence_checkpoints a SET {sets} FROM evidence_checkpoints b"
        " WHERE a.tenant_id = %(tenant)s AND b.tenant_id = a.tenant_id AND b.region = a.region"
        " AND (a.size, b.size) IN ((%(x)s, %(y)s), (%(y)s, %(x)s))"
    )
    assert scene.run(swap, x=one, y=other) == 2
    for size in (one, other):
        scene.expect(Named(Kind.CHECKPOINT_CHANGED, size), Named(Kind.CHECKPOINT_FORGED, size))


def step_moved_to_another_log(scene: Scene) -> None:
    """A checkpoint of this log stands in for another's that never was."""
    size = scene.dice.choice(scene.sizes)
    scene.run(
        f"INSERT INTO evidence_checkpoints ({CHECKPOINT_COLUMNS})"
        " SELECT gen_random_uuid(), tenant_id, region, %(start)s, %(start)s + 1, root, note, peaks, created_at"
        " FROM evidence_checkpoints WHERE {log} AND size = %(s)s",
        s=size,
        start=scene.size,
    )
    scene.expect(Named(Kind.CHECKPOINT_FORGED, scene.size + 1))


HARMS: tuple[Callable[[Scene], None], ...] = (
    record_byte,
    record_rewritten,
    record_column,
    record_deleted,
    record_unnumbered,
    records_swapped,
    record_moved_away,
    forged_append,
    truncated,
    node_byte,
    nodes_deleted,
    nodes_shifted,
    nodes_forged,
    checkpoint_column,
    checkpoint_byte,
    checkpoint_deleted,
    checkpoints_swapped,
    step_moved_to_another_log,
)
