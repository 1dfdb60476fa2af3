"""How a definition writes its waves: read by the grammar that a request's are read by, too."""

from __future__ import annotations

from apps.migrations import waves as grammar
from apps.migrations.definition import Waves
from apps.migrations.folders.fields import Fields


def waves(above: Fields) -> Waves:
    """Return the waves as they are written; what is wrong with them is noted in `above`."""
    spec = above.raw("waves")
    for pointer, right in grammar.problems(spec):
        above.refuse_at(("waves", *_parts(pointer)), right)
    return spec if isinstance(spec, dict) else tuple(spec) if isinstance(spec, list) else ()


def _parts(pointer: str) -> list[str | int]:
    """Return the parts of a JSON Pointer, places of a list as numbers."""
    parts = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    return [int(part) if part.isdecimal() else part for part in parts]
