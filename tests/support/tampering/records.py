"""Harm to the records of a log: changed, deleted, moved, put in, cut off."""

from __future__ import annotations

from uuid import uuid4

from apps.evidence import merkle, notes
from apps.evidence.findings import Kind
from apps.evidence.merkle import leaf_of
from tests.support.tampering.log import CHECKPOINT_COLUMNS, STRANGER, Named, Scene


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
        " leaf, number, created_at)"
        " VALUES (gen_random_uuid(), %(tenant)s, %(region)s, 'job', %(subject)s, 1, 'outcome', %(p)s, %(s)s, %(l)s,"
        " %(n)s, now())"
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
