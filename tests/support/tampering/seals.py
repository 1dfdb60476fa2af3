"""Harm to what seals a log: its tree and its checkpoints."""

from __future__ import annotations

from typing import Any

from apps.evidence.findings import Kind
from tests.support.tampering.log import CHECKPOINT_COLUMNS, Named, Scene


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
