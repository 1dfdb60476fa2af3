"""How a definition writes its waves: by number, by percentage, by name, or by risk."""

from __future__ import annotations

from typing import Any

from apps.migrations.definition import Waves
from apps.migrations.folders.fields import Fields

MOST_WAVES = 50
RIGHT = "one of {count: 1}, {percent: 10}, {targets: [acme]} would be right"


def waves(above: Fields) -> Waves:
    """Return the waves as they are written; what is wrong with them is noted in `above`."""
    if isinstance(above.raw("waves"), dict):
        return _by_risk(above)
    found: list[dict[str, Any]] = []
    seen: set[str] = set()
    percent = 0.0
    for fields in above.mappings("waves", most=MOST_WAVES):
        said = [name for name in ("count", "percent", "targets") if fields.has(name)]
        if len(said) != 1:
            fields.refuse(None, RIGHT)
        elif said == ["count"]:
            fields.whole("count", default=1, least=1, most=1_000_000)
        elif said == ["percent"]:
            now = fields.number("percent", default=100, least=0, most=100, above=True)
            if now <= percent:
                fields.refuse("percent", f"counts all targets so far: more than the {percent:g} before would be right")
            percent = now
        else:
            _named(fields, seen)
        for name in said:
            fields.raw(name)
        fields.close()
        found.append(dict(fields.values))
    if not found:
        above.refuse("waves", "a list of waves, or {by: risk, waves: 3}, would be right")
    return tuple(found)


def _by_risk(above: Fields) -> Waves:
    fields = above.mapping("waves")
    assert fields is not None  # noqa: S101 - the caller has seen the mapping
    if fields.raw("by") != "risk":
        fields.refuse("by", "risk would be right")
    number = fields.whole("waves", default=3, least=1, most=MOST_WAVES)
    fields.close()
    return {"by": "risk", "waves": number}


def _named(fields: Fields, seen: set[str]) -> None:
    targets = fields.raw("targets")
    if not isinstance(targets, list) or not targets or not all(isinstance(each, str) and each for each in targets):
        fields.refuse("targets", "a list of targets, by their keys, would be right")
        return
    for target in targets:
        if target in seen:
            fields.refuse("targets", f"{target!r} is in two places: once would be right")
        seen.add(target)
