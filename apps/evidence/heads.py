"""The last checkpoint of each log, kept outside the database: what finds a log that was cut off, or signed anew.

A whole log with all its checkpoints can be rewritten by who has both the database and a key, or cut off at its end by
who has the database alone; what is left is well-formed. Only a checkpoint that stayed elsewhere says otherwise. The
sealer keeps one a log under `OPS_HOME/evidence/heads`; copies elsewhere are as good (`evidence_verify --checkpoint`).
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

from django.conf import settings

from apps.evidence.logs import Log
from apps.evidence.notes import BadNoteError, Checkpoint
from apps.evidence.ring import KeyRing

SUFFIX = ".checkpoint"


class Heads:
    """The newest checkpoints known from outside the database, by log: files of `folder`, held in memory once read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[Log, Checkpoint] = {}

    def last(self, log: Log, *, ring: KeyRing) -> Checkpoint | None:
        """Return the newest checkpoint known of `log`; raise `BadNoteError` for a file that is not to be believed."""
        if log not in self._held:
            note = self.note(log)
            if note is None:
                return None
            self._held[log] = ring.opened(note, origin=log.origin)
        return self._held[log]

    def note(self, log: Log) -> str | None:
        """Return the note in the file of `log`, whatever it holds; raise `BadNoteError` if it cannot be read."""
        try:
            return self._path(log).read_bytes().decode("utf-8", "replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BadNoteError(f"{self._path(log)}: {error.strerror}") from error

    def logs(self) -> Iterator[Log]:
        """Yield the logs of which a checkpoint is kept."""
        for path in sorted(self._folder.glob(f"*/*{SUFFIX}")):
            yield Log(unquote(path.name.removesuffix(SUFFIX)), unquote(path.parent.name))

    def keep(self, log: Log, checkpoint: Checkpoint, *, note: str) -> None:
        """Keep `note`, which was committed. A reader sees the file before or after, never a half.

        When this returns, a loss of power takes it away no more: file and name are on the disk. Raises `OSError`.
        """
        self._held[log] = checkpoint
        path = self._path(log)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                file.write(note)
                file.flush()
                os.fsync(file.fileno())  # before it takes the name: a name without its bytes would be a broken head
            draft.replace(path)
        except OSError:
            draft.unlink(missing_ok=True)  # a disk that is full gets no fuller, try by try
            raise
        _sync_folder(path.parent)

    def forget(self, log: Log) -> None:
        """Read the file again the next time: somebody may have mended it."""
        self._held.pop(log, None)

    def _path(self, log: Log) -> Path:
        return self._folder / quote(log.region, safe="") / f"{quote(log.tenant_id, safe='')}{SUFFIX}"


def _sync_folder(folder: Path) -> None:
    """Have the names in `folder` on the disk as they are now."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def kept() -> Heads:
    """Return the heads of this plane's home."""
    return Heads(Path(settings.ENVIRONMENT.home) / "evidence" / "heads")
