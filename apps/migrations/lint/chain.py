"""Whether the registered definitions of one name make one chain of versions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from apps.migrations.definition import Definition
from apps.migrations.folders.problems import DOCUMENT
from apps.migrations.lint.findings import Finding, Level


def findings(definition: Definition, *, among: Sequence[Definition]) -> Iterator[Finding]:
    """Yield ways that part, circles, and a beginning that no other definition leads to though one should."""
    steps = {(each.version_from, each.version_to) for each in among if each.name == definition.name}
    steps.add((definition.version_from, definition.version_to))
    others = sorted(to for version, to in steps if version == definition.version_from and to != definition.version_to)
    if others:
        message = (
            f"from {definition.version_from} there is a way to {', '.join(others)}, too: one next step would be right"
        )
        yield _finding("ambiguous-next", message, level=Level.ERROR)
    if _leads(definition.version_to, definition.version_from, steps):
        message = f"from {definition.version_to} the chain leads back to {definition.version_from}"
        yield _finding("version-circle", message, level=Level.ERROR)
    reached = {to for _, to in steps}
    beginnings = sorted({version for version, _ in steps if version not in reached}, key=_in_order)
    if definition.version_from in beginnings[1:]:
        before = beginnings[0]
        message = f"no definition leads to {definition.version_from}: targets behind it (at {before}) cannot come here"
        yield _finding("version-gap", message, level=Level.WARNING)


def _leads(version: str, goal: str, steps: set[tuple[str, str]]) -> bool:
    seen, waiting = set(), [version]
    while waiting:
        now = waiting.pop()
        if now == goal:
            return True
        if now not in seen:
            seen.add(now)
            waiting += [to for each, to in steps if each == now]
    return False


def _in_order(version: str) -> list[tuple[bool, int, str]]:
    """Order versions as people do: 1.9 before 1.10."""
    parts = re.findall(r"\d+|[^\d.]+", version)
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts]


def _finding(rule: str, message: str, *, level: Level) -> Finding:
    return Finding(level=level, step=None, file=DOCUMENT, line=1, rule=rule, message=message)
