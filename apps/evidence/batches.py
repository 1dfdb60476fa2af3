"""What is emitted: a batch of a log's records in one in-toto statement, up to a checkpoint that was signed. Pure.

A batch holds whole records, byte for byte, with their salts, so that whoever receives it needs nothing else to see that
they lead from the checkpoint it knew to the one it is given. Of a record whose bytes were erased it holds the leaf.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from apps.evidence import notes
from apps.evidence.dsse import STATEMENT_TYPE
from apps.evidence.merkle import leaf_of

BATCH_TYPE = "https://opsplatform.dev/evidence/batch/v1"
HASH_HEX = 64


class BadBatchError(ValueError):
    """What was received is no batch, or what was stored makes none; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A record on its way: its exact bytes and salt, or nothing but its leaf."""

    number: int
    leaf: bytes
    payload: bytes | None
    salt: bytes | None


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A batch as it was received: the leaves of the numbers from `start` on, and the note they lead to."""

    origin: str
    start: int
    note: str
    leaves: Sequence[bytes]

    @property
    def size(self) -> int:
        """The log's size after it."""
        return self.start + len(self.leaves)


def batch(*, origin: str, root: bytes, note: str, entries: Sequence[Entry]) -> bytes:
    """Return the bytes to be signed: `entries` side by side, the last of them the last under the note.

    Raises `BadBatchError` for a record that is no text any more: what was written here was.
    """
    return orjson.dumps(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": origin, "digest": {"sha256": root.hex()}}],
            "predicateType": BATCH_TYPE,
            "predicate": {"start": entries[0].number, "checkpoint": note, "records": [_told(each) for each in entries]},
        }
    )


def received(payload: bytes) -> Batch:
    """Return the batch that `payload` is; every leaf is computed from what was received. Raises `BadBatchError`."""
    try:
        said: Any = orjson.loads(payload)
        predicate = said["predicate"]
        kind, start, note = said["predicateType"], predicate["start"], predicate["checkpoint"]
        origin = said["subject"][0]["name"]
        leaves = [_leaf(each) for each in predicate["records"]]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise BadBatchError("an in-toto statement with start, checkpoint and records would be right") from error
    if kind != BATCH_TYPE:
        raise BadBatchError(f"predicateType: {BATCH_TYPE} would be right")
    if type(start) is not int or start < 0 or not leaves:
        raise BadBatchError("start: a number, and at least one record, would be right")
    if not isinstance(origin, str) or not isinstance(note, str):
        raise BadBatchError("subject and checkpoint: texts would be right")
    return Batch(origin=origin, start=start, note=note, leaves=leaves)


def _told(entry: Entry) -> dict[str, Any]:
    if entry.payload is None or entry.salt is None:
        return {"leaf": entry.leaf.hex()}
    try:
        text = entry.payload.decode()
    except UnicodeDecodeError as error:
        raise BadBatchError(f"the bytes of record {entry.number} are not what was written") from error
    return {"payload": text, "salt": notes.encoded(entry.salt)}


def _leaf(told: dict[str, Any]) -> bytes:
    if "payload" in told:
        return leaf_of(payload=told["payload"].encode(), salt=notes.decoded(told["salt"]))
    leaf = bytes.fromhex(told["leaf"])
    if len(told["leaf"]) != HASH_HEX:
        raise BadBatchError("leaf: 64 hexadecimal digits would be right")
    return leaf
