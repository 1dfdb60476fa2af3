"""What a caller may read of a plan or of a wave's facts: not who the others are. Pure.

A campaign goes through many tenants, and its account's own module may not know them all. So whatever names a target of
theirs is taken out, wherever it stands: a list forgets it, and a sentence or a schema's name says that it is another's.
Rather too much than too little: a word that may be a name is taken for one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from itertools import combinations
from typing import Any, Final

ANOTHERS: Final = "another's"
_WORD: Final = re.compile(r"[a-z0-9_-]+")
_NAMING: Final = ("target", "tenant", "tenant_id", "key")


def without(value: Any, *, hidden: Collection[str]) -> Any:
    """Return a JSON value without the targets called `hidden`, nor their names in any sentence or schema's name."""
    return _without(value, hidden={form for name in hidden for form in (name, name.replace("-", "_"))})


def _without(value: Any, *, hidden: set[str]) -> Any:
    if isinstance(value, str):
        return ANOTHERS if _names(value, hidden=hidden) else value
    if isinstance(value, Mapping):
        return {
            name: _without(inner, hidden=hidden)
            for name, inner in value.items()
            if not _names(str(name), hidden=hidden)
        }
    if isinstance(value, list | tuple):
        return [_without(each, hidden=hidden) for each in value if not _is_of(each, hidden=hidden)]
    return value


def _is_of(value: Any, *, hidden: set[str]) -> bool:
    """Say whether a list's item is a hidden target, or about one."""
    if isinstance(value, Mapping):
        return any(isinstance(value.get(name), str) and value[name] in hidden for name in _NAMING)
    return isinstance(value, str) and value in hidden


def _names(text: str, *, hidden: set[str]) -> bool:
    """Say whether a hidden name stands in the text, by itself or as a part of an identifier (`tenant_acme`)."""
    return any(word in hidden or _has_part(word, hidden=hidden) for word in _WORD.findall(text.lower()))


def _has_part(word: str, *, hidden: set[str]) -> bool:
    parts = word.split("_")
    return any("_".join(parts[first:last]) in hidden for first, last in combinations(range(len(parts) + 1), 2))
