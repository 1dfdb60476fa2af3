"""`lint(definition)`: what is wrong, or doubtful, with a definition that can be read.

Every rule, with its reason and the way out, stands in docs/migration-definitions.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from apps.migrations import registry
from apps.migrations.definition import Definition
from apps.migrations.lint import calls, chain, locks, order, reverts, sql
from apps.migrations.lint.findings import Finding, Level

__all__ = ["Finding", "Level", "errors", "lint"]


def lint(definition: Definition, *, among: Sequence[Definition] | None = None) -> list[Finding]:
    """Return all findings, in the order of files and lines; errors refuse planning.

    `among`: the definitions whose versions make a chain with this one; the registered ones where none are given. It
    runs squawk, a program, for at most some seconds; nothing of the definition is executed.
    """
    if among is None:
        among = registry.every()
    found = [
        *order.findings(definition),
        *reverts.findings(definition),
        *sql.findings(definition),
        *locks.findings(definition),
        *calls.findings(definition),
        *chain.findings(definition, among=among),
    ]
    return sorted(found, key=lambda each: (each.file, each.line, each.level, each.rule))


def errors(findings: Sequence[Finding]) -> list[Finding]:
    """Return those that refuse planning."""
    return [finding for finding in findings if finding.level is Level.ERROR]
