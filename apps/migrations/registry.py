"""The registered definitions: every folder with a `migration.yaml` that lies in a folder of OPS_MIGRATIONS, or in a
package that an installed distribution names in the entry points' group `opsplatform.migrations`.

A folder is read again when its files' stat changed, and only then. One that is bad hides no other: `every` leaves it
out, `broken` tells of it, and `find` raises it where it says that it is what was asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from threading import Lock

from django.conf import settings

from apps.migrations.definition import Definition
from apps.migrations.folders import assembly, files
from apps.migrations.folders.problems import DOCUMENT, BadDefinitionError, Problem

__all__ = ["BadDefinitionError", "Problem", "UnknownDefinitionError", "broken", "every", "find", "read"]

ENTRY_POINT_GROUP = "opsplatform.migrations"

Identity = tuple[str, str, str]


class UnknownDefinitionError(LookupError):
    """No definition of that name and version is registered; the message tells which are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """What became of a folder when it was read; `identity` of a bad one is what it says that it is."""

    stamp: files.Stamp
    identity: Identity | None
    definition: Definition | None = None
    error: BadDefinitionError | None = None


_cache: dict[Path, _Read] = {}
_lock = Lock()


def every() -> list[Definition]:
    """Return all good definitions, by name and in the order of their folders."""
    good, _ = _sorted_out()
    return sorted(good, key=lambda definition: (definition.name, definition.version_from, definition.version_to))


def broken() -> list[BadDefinitionError]:
    """Return what is wrong with every folder that `every` leaves out; each of two of one identity names the other."""
    _, bad = _sorted_out()
    return bad


def find(*, name: str, version_to: str, version_from: str | None = None) -> Definition:
    """Return the definition of this name that leads to this version, from the one given if there are more.

    Raises `UnknownDefinitionError` where there is none, or more than one, and `BadDefinitionError` where its folder
    cannot be used.
    """

    def asked(identity: Identity | None) -> bool:
        return identity is not None and identity[::2] == (name, version_to) and version_from in {None, identity[1]}

    good, bad = _sorted_out()
    for error in bad:
        if asked(_cached_identity(error.folder)):
            raise error
    found = [each for each in good if asked((each.name, each.version_from, each.version_to))]
    if len(found) == 1:
        return found[0]
    if found:
        known = ", ".join(sorted(each.version_from for each in found))
        raise UnknownDefinitionError(f"{name} has more than one migration to {version_to}: say from which of {known}")
    known = ", ".join(sorted(each.reference for each in good if each.name == name)) or "none of that name"
    unread = f"; not readable: {', '.join(str(error.folder) for error in bad)}" if bad else ""
    came_from = f" from {version_from}" if version_from else ""
    raise UnknownDefinitionError(
        f"no migration {name}{came_from} to {version_to} is registered (known: {known}{unread})"
    )


def read(folder: Path) -> Definition:
    """Return the definition in one folder, registered or not; raises `BadDefinitionError`."""
    found = _read(folder.resolve())
    if found.definition is not None:
        return found.definition
    assert found.error is not None  # noqa: S101 - it is one or the other
    raise found.error


def _sorted_out() -> tuple[list[Definition], list[BadDefinitionError]]:
    """Return the good definitions, and an error for each folder (or entry point) that is none."""
    folders, bad = _folders()
    reads = {folder: _read(folder) for folder in folders}
    owners: dict[Identity, list[Path]] = {}
    for folder, found in reads.items():
        if found.definition is not None and found.identity is not None:
            owners.setdefault(found.identity, []).append(folder)
    good = []
    for folder, found in reads.items():
        if found.error is not None:
            bad.append(found.error)
        elif found.definition is not None and found.identity is not None:
            others = [other for other in owners[found.identity] if other != folder]
            if others:
                bad.append(_taken(found.definition, others))
            else:
                good.append(found.definition)
    return good, bad


def _taken(definition: Definition, others: Sequence[Path]) -> BadDefinitionError:
    where = " and ".join(str(other) for other in others)
    problem = Problem(
        file=DOCUMENT,
        line=1,
        field="name",
        message=f"{definition.reference} is defined in {where}, too: once would be right",
    )
    return BadDefinitionError(folder=definition.folder, problems=[problem])


def _read(folder: Path) -> _Read:
    """Return what is in the folder, read anew only where a file changed."""
    stamp = files.stamp(folder)
    with _lock:
        known = _cache.get(folder)
    if known is not None and known.stamp == stamp:
        return known
    try:
        definition = assembly.read(folder)
    except BadDefinitionError as error:
        found = _Read(stamp=stamp, identity=assembly.identity(folder), error=error)
    else:
        identity = (definition.name, definition.version_from, definition.version_to)
        found = _Read(stamp=stamp, identity=identity, definition=definition)
    with _lock:
        _cache[folder] = found
    return found


def _cached_identity(folder: Path) -> Identity | None:
    with _lock:
        known = _cache.get(folder)
    return known.identity if known is not None else None


def _folders() -> tuple[list[Path], list[BadDefinitionError]]:
    """Return the folders of definitions below every root, and an error for each root that cannot be looked into."""
    bad: list[BadDefinitionError] = []
    found: dict[Path, None] = {}
    for root in (*settings.ENVIRONMENT.migrations, *_packages(bad)):
        try:
            below = sorted(path for path in root.iterdir() if (path / DOCUMENT).is_file())
        except OSError as error:
            bad.append(_unusable(root, f"cannot be looked into: {error.strerror}"))
            continue
        found.update(dict.fromkeys(path.resolve() for path in below))
    return list(found), bad


def _packages(bad: list[BadDefinitionError]) -> Iterator[Path]:
    """Yield the folder of each package that the entry points name, none of which is imported for it."""
    for point in sorted(entry_points(group=ENTRY_POINT_GROUP)):
        try:
            spec = find_spec(point.value)
        except (ImportError, ValueError) as error:  # a parent that cannot be imported, or a name that is none
            bad.append(_unusable(Path(point.value), f"the entry point {point.name!r} cannot be found: {error}"))
            continue
        places = list(spec.submodule_search_locations or ()) if spec is not None else []
        if not places:
            bad.append(_unusable(Path(point.value), f"the entry point {point.name!r} names no installed package"))
        yield from map(Path, places)


def _unusable(root: Path, message: str) -> BadDefinitionError:
    return BadDefinitionError(folder=root, problems=[Problem(file="", line=1, field="", message=message)])
