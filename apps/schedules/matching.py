"""Which event meets which trigger, and what its job is then. Values in, values out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")
PATH = re.compile(r"event\.(id|type|subject|time|data(\.[A-Za-z0-9_]+)+)")
ATTRIBUTE = re.compile(
    r"subject|data(\.[A-Za-z0-9_]+)+|job\.(type|contract|environment|trigger|submitted_by|parent_id)"
)
EVENT_TYPE = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*(\.\*)?")
MAX_DEPTH = 8


class UnresolvedError(LookupError):
    """The event does not have what a placeholder names."""


def type_fits(pattern: str, event_type: str) -> bool:
    """Say whether an event type is the pattern, or begins as `prefix.*` says."""
    return event_type.startswith(pattern[:-1]) if pattern.endswith(".*") else event_type == pattern


def fits(conditions: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    """Say whether every attribute has the value it must have, or one of the list."""
    return all(
        _same_as_one(value_at(facts, path), wanted if isinstance(wanted, list) else [wanted])
        for path, wanted in conditions.items()
    )


def _same_as_one(found: Any, wanted: list[Any]) -> bool:
    # True is not 1 here, as it is not in JSON.
    return any(found == each and isinstance(found, bool) == isinstance(each, bool) for each in wanted)


def value_at(facts: Mapping[str, Any], path: str) -> Any:
    """Return what stands at a dotted path; None where nothing does."""
    found: Any = facts
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def bad_placeholders(value: Any) -> list[str]:
    """Return the placeholders in a template that name nothing an event has."""
    if isinstance(value, str):
        named = [text for text in PLACEHOLDER.findall(value) if not PATH.fullmatch(text)]
        return named + (["${"] if "${" in PLACEHOLDER.sub("", value) else [])
    if isinstance(value, Mapping):
        keys = [key for key in value if "${" in str(key)]
        return keys + [bad for each in value.values() for bad in bad_placeholders(each)]
    return [bad for each in value for bad in bad_placeholders(each)] if isinstance(value, list) else []


def has_placeholder(value: Any) -> bool:
    """Say whether a template holds any."""
    if isinstance(value, str):
        return PLACEHOLDER.search(value) is not None
    if isinstance(value, Mapping):
        return any(has_placeholder(each) for each in value.values())
    return isinstance(value, list) and any(has_placeholder(each) for each in value)


def filled(value: Any, *, event: Mapping[str, Any]) -> Any:
    """Return a template with its placeholders filled: one that is a whole text keeps the value's kind.

    What is filled in is never looked at for placeholders again. Raises `UnresolvedError`.
    """
    if isinstance(value, Mapping):
        return {key: filled(each, event=event) for key, each in value.items()}
    if isinstance(value, list):
        return [filled(each, event=event) for each in value]
    if not isinstance(value, str):
        return value
    whole = PLACEHOLDER.fullmatch(value)
    if whole is not None:
        return _named(whole[1], event=event)

    def text(match: re.Match[str]) -> str:
        found = _named(match[1], event=event)
        if isinstance(found, dict | list | bool):
            raise UnresolvedError(match[1])
        return str(found)

    return PLACEHOLDER.sub(text, value)


def _named(path: str, *, event: Mapping[str, Any]) -> Any:
    found = value_at({"event": event}, path)
    if found is None:
        raise UnresolvedError(path)
    return found
