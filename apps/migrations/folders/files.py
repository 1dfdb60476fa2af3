"""The files of a definition's folder: which belong to it, what they hold, and their checksums.

Hidden files and `__pycache__` do not belong: a running Python or a person's editor leaves them behind, and must not
make another definition of it. Everything else does, named in the document or not, and must lie in the folder itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from apps.core.digests import digest_of, sha256
from apps.migrations.folders.problems import DOCUMENT, BadDefinitionError, Problem

MOST_FILES = 200
LARGEST_FILE = 1 << 20
LARGEST_FOLDER = 8 << 20
LARGEST_DOCUMENT = 256 << 10

Stamp = tuple[tuple[str, int, int, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The bytes of a folder's files by their relative paths ('sql/10-add.sql')."""

    folder: Path
    contents: Mapping[str, bytes]

    @property
    def checksum(self) -> str:
        """Return the checksum of the whole: over the canonical JSON of each path's digest."""
        return digest_of(self.digests(self.contents))

    def digests(self, names: Mapping[str, bytes] | list[str]) -> dict[str, str]:
        """Return the digest of each of these files that is there."""
        return {name: sha256(self.contents[name]) for name in sorted(names) if name in self.contents}


def read(folder: Path) -> Files:
    """Return the folder's files; raise `BadDefinitionError` with everything that must not be among them."""
    problems: list[Problem] = []
    contents: dict[str, bytes] = {}
    size = 0
    for number, name in enumerate(_names(folder)):
        path = folder / name
        wrong = f"there are more than {MOST_FILES} files" if number >= MOST_FILES else _wrong(path, name, folder)
        if wrong is None:
            size += path.stat().st_size
            wrong = f"the folder is larger than {LARGEST_FOLDER} bytes" if size > LARGEST_FOLDER else None
        if wrong is not None:
            problems.append(Problem(file=name, line=1, field="", message=wrong))
            if number >= MOST_FILES or size > LARGEST_FOLDER:
                break
            continue
        try:
            contents[name] = path.read_bytes()
        except OSError as error:
            problems.append(Problem(file=name, line=1, field="", message=f"cannot be read: {error.strerror}"))
    if DOCUMENT not in contents and not problems:
        problems.append(Problem(file=DOCUMENT, line=1, field="", message="there is no such file"))
    if problems:
        raise BadDefinitionError(folder=folder, problems=problems)
    return Files(folder=folder, contents=contents)


def stamp(folder: Path) -> Stamp:
    """Return what changes when a file of the folder does: names, sizes, times and places on the disk."""
    return tuple(_stamps(folder))


def escapes(name: str) -> bool:
    """Say whether a file's name leads, or might lead, out of the folder: '../x', '/x', 'a\\b', hidden ones."""
    parts = PurePosixPath(name).parts
    return (
        not parts
        or name != str(PurePosixPath(name))
        or "\\" in name
        or "\0" in name
        or any(part == "/" or part.startswith(".") or part == "__pycache__" for part in parts)
    )


def _stamps(folder: Path) -> Iterator[tuple[str, int, int, int, int]]:
    for number, name in enumerate(_names(folder)):
        if number > MOST_FILES:
            return
        try:
            found = (folder / name).stat()
        except OSError:
            yield name, -1, -1, -1, -1
        else:
            yield name, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _names(folder: Path) -> Iterator[str]:
    """Yield the relative paths of what belongs, sorted within each folder; symbolic links to folders as themselves."""
    for parent, folders, names in os.walk(folder):
        links = [name for name in folders if Path(parent, name).is_symlink()]
        folders[:] = sorted(name for name in folders if name not in links and not _ignored(name))
        for name in sorted(names + links):
            if not _ignored(name):
                yield Path(parent, name).relative_to(folder).as_posix()


def _ignored(name: str) -> bool:
    return name.startswith(".") or name == "__pycache__" or name.endswith(".pyc")


def _wrong(path: Path, name: str, folder: Path) -> str | None:
    """Return why this file must not be in a definition, or None."""
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError):
        return "cannot be followed: a symbolic link that leads nowhere"
    if not real.is_relative_to(folder.resolve()):
        return "leads out of the folder: put the file itself here"
    if not real.is_file():
        return "is no plain file" if not real.is_dir() else "is a symbolic link to a folder: put the files here"
    most = LARGEST_DOCUMENT if name == DOCUMENT else LARGEST_FILE
    return None if real.stat().st_size <= most else f"is larger than {most} bytes"
