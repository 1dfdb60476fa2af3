"""What a sink that is a witness makes of a batch: it believes what leads on from what it saw before. Pure.

It keeps of each log no more than growing needs: size and peaks. It computes every leaf from the bytes it was sent and
lets its own tree grow by them, so that a checkpoint is accepted for what it is of, and never on its word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apps.evidence import batches, dsse, merkle
from apps.evidence.logs import Log
from apps.evidence.notes import BadNoteError
from apps.evidence.ring import KeyRing


class NotAcceptedError(ValueError):
    """A batch is not accepted; `code` says why in a word, the message in a sentence."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class OutOfStepError(NotAcceptedError):
    """A batch does not begin where the log was last seen; the sender can go on from there."""

    def __init__(self, *, origin: str, start: int, size: int) -> None:
        super().__init__("out_of_step", f"the log was seen up to {size}, and the batch begins at {start}")
        self.origin = origin


@dataclass(frozen=True, kw_only=True)
class Seen:
    """How far a log was seen: its tree, the cosigned note of that size, and the name of the last batch."""

    tree: merkle.Tree
    note: str = ""
    ref: str = ""


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """A batch that leads on: the log's tree with it, and the note that signed it."""

    log: Log
    start: int
    tree: merkle.Tree
    note: str


def opened(document: Mapping[str, Any], *, ring: KeyRing) -> batches.Batch:
    """Return the batch in a DSSE envelope that a key of the log signed; raise `NotAcceptedError`."""
    try:
        payload, by = dsse.opened(document, keys={key.kid: key.public for key in ring.keys})
        batch = batches.received(payload)
        Log.named(batch.origin)
    except (dsse.BadEnvelopeError, BadNoteError) as error:
        raise NotAcceptedError("bad_signature", str(error)) from error
    except batches.BadBatchError as error:
        raise NotAcceptedError("bad_batch", str(error)) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotAcceptedError("bad_envelope", "a DSSE envelope of a batch of one log would be right") from error
    if not by & ring.speakers(origin=batch.origin, size=batch.size):
        raise NotAcceptedError("bad_signature", f"the key that signed was not in use at size {batch.size}")
    return batch


def accepted(batch: batches.Batch, *, seen: Seen, ring: KeyRing) -> Accepted:
    """Return what a batch makes of its log; raise `NotAcceptedError` (`OutOfStepError`: it begins elsewhere)."""
    try:
        checkpoint = ring.opened(batch.note, origin=batch.origin)
    except BadNoteError as error:
        raise NotAcceptedError("bad_checkpoint", str(error)) from error
    if batch.start != seen.tree.size:
        raise OutOfStepError(origin=batch.origin, start=batch.start, size=seen.tree.size)
    if checkpoint.size != batch.size:
        says = f"the checkpoint is of size {checkpoint.size}, and the records end at {batch.size}"
        raise NotAcceptedError("bad_checkpoint", says)
    tree = seen.tree.grown(batch.leaves)
    if tree.root != checkpoint.root:
        says = "the records do not lead from the log as it was seen to the checkpoint: another history was seen"
        raise NotAcceptedError("inconsistent", says)
    return Accepted(log=Log.named(batch.origin), start=batch.start, tree=tree, note=batch.note)
