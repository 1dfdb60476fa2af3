"""What was different when it went wrong: the first bad run against the last good one. Pure.

Params hold references and settings, never rows of data, so they are shown as they are; what is long is compared, and
shown, by its digest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from apps.core.digests import sha256

LONGEST_SHOWN: Final = 200
MOST_CHANGES: Final = 100


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of a job, as far as it is compared: what it was asked to do, under what, by whom, on what."""

    job_id: str
    finished_at: str | None
    params: Mapping[str, Any] = field(default_factory=dict)
    contract: str | None = None
    contract_digest: str | None = None
    environment: str | None = None
    region: str | None = None
    worker: str | None = None
    version: str | None = None
    policies: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Change:
    """One thing that differs: where, what it was in the good run, what in the bad one."""

    field: str
    good: Any
    bad: Any


PARTS: Final = (
    "params", "contract", "contract_digest", "environment", "region", "worker", "version", "policies", "inputs",
)  # fmt: skip


def between(*, good: Run, bad: Run) -> list[Change]:
    """Return what differs, in the order in which a person looks; at most 100 changes."""
    found = [change for part in PARTS for change in _differing(part, getattr(good, part), getattr(bad, part))]
    return found[:MOST_CHANGES]


def same(*, good: Run, bad: Run) -> list[str]:
    """Return the parts in which nothing differs: as telling as what does."""
    return [part for part in PARTS if not list(_differing(part, getattr(good, part), getattr(bad, part)))]


def _differing(where: str, good: Any, bad: Any) -> Iterator[Change]:
    if isinstance(good, Mapping) and isinstance(bad, Mapping):
        for name in sorted({*good, *bad}):
            yield from _differing(f"{where}.{name}", good.get(name), bad.get(name))
    elif isinstance(good, list) and isinstance(bad, list):
        if len(good) != len(bad):
            yield Change(field=where, good=shown(good), bad=shown(bad))
            return
        for place, (one, other) in enumerate(zip(good, bad, strict=True)):
            yield from _differing(f"{where}[{place}]", one, other)
    elif good != bad or type(good) is not type(bad):
        yield Change(field=where, good=shown(good), bad=shown(bad))


def shown(value: Any) -> Any:
    """Return a value as it is told: itself while it is short, else its digest."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str) and len(value) <= LONGEST_SHOWN:
        return value
    # By Python's own JSON: PostgreSQL keeps numbers that the quicker one cannot write.
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return value if len(text) <= LONGEST_SHOWN else sha256(text.encode("utf-8", "replace"))
