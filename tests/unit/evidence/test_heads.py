"""A head that was kept stays kept: its bytes are on the disk before they take the name, and the name after that."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from apps.evidence.heads import Heads
from apps.evidence.logs import Log
from apps.evidence.notes import Checkpoint

ACME = Log("acme", "local")
CHECKPOINT = Checkpoint(origin=ACME.origin, size=1, root=bytes(32))


def test_the_bytes_are_on_the_disk_before_the_name_and_the_name_before_it_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads = Heads(tmp_path)
    heads.keep(ACME, CHECKPOINT, note="before")
    (file,) = tmp_path.rglob("*.checkpoint")
    synced: list[tuple[str, str]] = []
    fsync = os.fsync

    def watched(handle: int) -> None:
        fsync(handle)
        about = os.fstat(handle)
        what = "folder" if stat.S_ISDIR(about.st_mode) else "file"
        synced.append((what, file.read_text()))

    monkeypatch.setattr(os, "fsync", watched)
    heads.keep(ACME, CHECKPOINT, note="after")
    assert synced == [("file", "before"), ("folder", "after")]


def test_of_a_disk_that_is_full_nothing_is_left_but_what_was_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads = Heads(tmp_path)
    heads.keep(ACME, CHECKPOINT, note="before")

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        heads.keep(ACME, CHECKPOINT, note="after")
    (file,) = (each for each in tmp_path.rglob("*") if each.is_file())
    assert file.read_text() == "before"
