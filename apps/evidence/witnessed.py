"""Checkpoints that the sink's witness cosigned: what a rewritten log cannot have, whoever holds its keys.

They lie in the sink's folder, where it is on this machine, and beside the emissions. A file that its own witness did
not sign proves nothing and is told; what stands in the database and is not signed is passed over, since whoever can
write there can write that.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from apps.core.database import preparing
from apps.evidence import cosigning
from apps.evidence.cosigning import Witness
from apps.evidence.logs import Log
from apps.evidence.notes import BadNoteError, Checkpoint
from apps.evidence.ring import KeyRing

LAST = """
SELECT DISTINCT ON (tenant_id, region) note FROM evidence_emissions WHERE note IS NOT NULL
 ORDER BY tenant_id, region, start DESC
"""


def witness_in(folder: Path) -> Witness | None:
    """Return the witness of the sink in `folder`; None where none ever ran. Raises `BadNoteError`."""
    try:
        return Witness.of_word((folder / "witness.key").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def checkpoints(*, folder: Path, witness: Witness | None, ring: KeyRing) -> dict[Log, list[Checkpoint]]:
    """Return the cosigned checkpoints known of each log; raise `BadNoteError` for a file of the sink's that is none."""
    found: dict[Log, list[Checkpoint]] = {}
    if witness is None:
        return found
    for path, note in _files(folder):
        try:
            _add(found, note, witness=witness, ring=ring)
        except (BadNoteError, ValueError) as error:
            raise BadNoteError(f"{path}: {error}") from error
    with preparing() as cursor:
        cursor.execute(LAST)
        notes = [note for (note,) in cursor.fetchall()]
    for note in notes:
        try:
            _add(found, note, witness=witness, ring=ring)
        except (BadNoteError, ValueError):
            continue
    return found


def _add(found: dict[Log, list[Checkpoint]], note: str, *, witness: Witness, ring: KeyRing) -> None:
    cosigning.seen_at(note, by=witness)
    origin = note.partition("\n")[0]
    found.setdefault(Log.named(origin), []).append(ring.opened(note, origin=origin))


def _files(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted((folder / "logs").glob("*/*.json")):
        try:
            yield path, str(json.loads(path.read_text(encoding="utf-8"))["checkpoint"])
        except (OSError, ValueError, KeyError) as error:
            raise BadNoteError(f"{path} cannot be read") from error
