"""Reading a log's stored nodes: as many as a proof needs, in one question."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from apps.core.database import preparing
from apps.evidence import merkle
from apps.evidence.logs import Log

# A row holds neighbours of a level: the one that begins last before the wanted node, and of it 32 bytes.
NODES = """
SELECT w.level, w.index, substr(n.hashes, ((w.index - n.first) * 32 + 1)::int, 32)
  FROM unnest(%(levels)s::int[], %(indexes)s::bigint[]) AS w(level, index)
  LEFT JOIN LATERAL (
    SELECT first, hashes FROM evidence_nodes
     WHERE tenant_id = %(tenant)s AND region = %(region)s AND level = w.level AND first <= w.index
     ORDER BY first DESC LIMIT 1) AS n ON true
"""

Made = TypeVar("Made")


class NodesMissingError(RuntimeError):
    """A log's stored nodes have a hole: somebody took them away."""


def fetch(log: Log, *, wanted: Iterable[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
    """Return the hashes of the `wanted` complete subtrees; raise `NodesMissingError` where one is not there."""
    asked = sorted(wanted)
    if not asked:
        return {}
    values = {
        "levels": [level for level, _ in asked],
        "indexes": [index for _, index in asked],
        "tenant": log.tenant_id,
        "region": log.region,
    }
    with preparing() as cursor:
        cursor.execute(NODES, values)
        found = {(level, index): bytes(node or b"") for level, index, node in cursor.fetchall()}
    for (level, index), node in found.items():
        if len(node) != merkle.HASH_BYTES:
            raise NodesMissingError(f"node {index} of level {level} is not stored")
    return found


def proved(log: Log, make: Callable[[merkle.Node], Made]) -> Made:
    """Return what `make` makes of a log's nodes: asked once for what it needs, then fed."""
    found = fetch(log, wanted=merkle.asked_for(make))
    return make(lambda level, index: found[level, index])
