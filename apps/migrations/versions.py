"""Which version is older than which. Pure."""

from __future__ import annotations

from packaging.version import InvalidVersion, Version


def is_old(version: str, *, before: str, after: str) -> bool:
    """Say whether who is at `version` still needs what a migration from `before` to `after` takes away.

    Whoever is older than `after` does: 1.4.3 and 1.3 as much as 1.4. A release candidate of `after` is not older: its
    code is the new one's, unless `before` is one itself, and no older. Versions that are no numbers cannot be ordered:
    of them only `before` itself is old.
    """
    if version == before:
        return True
    try:
        return _release(version) < _release(after) or Version(version) <= Version(before) < Version(after)
    except InvalidVersion:
        return False


def _release(version: str) -> Version:
    return Version(Version(version).base_version)
