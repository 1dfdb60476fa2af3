"""`manage.py migration_lint [PATH|NAME…] [--json]`: can these migrations be planned, and what will they lock?

Looks at every registered one, or at those named: by the path of a folder (registered or not, or one that holds such
folders), by name ('crm'), or by name and version ('crm-1.5'). Runs none of them and needs no service.
Exit code 0: no errors, whatever the warnings; 1: errors; 2: nothing could be looked at.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.migrations import registry, risk
from apps.migrations.definition import Definition
from apps.migrations.folders.problems import DOCUMENT
from apps.migrations.lint import Finding, Level, lint
from apps.migrations.registry import BadDefinitionError

ERRORS = 1
BAD_USAGE = 2

Looked = tuple[Path, Definition | None, list[Finding]]


class Command(BaseCommand):
    """Lint definitions of migrations."""

    help = (
        "Check definitions of migrations: order, reverts, versions, SQL and its locks; exit code 1 if any has errors."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Add what to look at, and --json."""
        parser.add_argument(
            "which", nargs="*", metavar="PATH|NAME", help="folders or names; all registered ones if none"
        )
        parser.add_argument("--json", action="store_true", help="for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print every finding."""
        looked = [_looked_at(each) for each in _chosen(options["which"])]
        self.stdout.write(json.dumps(_document(looked), indent=1) if options["json"] else in_words(looked))
        if any(finding.level is Level.ERROR for _, _, findings in looked for finding in findings):
            raise SystemExit(ERRORS)


def in_words(looked: Sequence[Looked]) -> str:
    """Return the findings as a person reads them: file:line, level, rule, what is wrong."""
    lines = []
    for folder, definition, findings in looked:
        for finding in findings:
            about = f"{finding.step}: " if finding.step else ""
            place = f"{_shown(folder / finding.file)}:{finding.line}"
            lines.append(f"{place}: {finding.level} {finding.rule}: {about}{finding.message}")
        count = {level: sum(finding.level is level for finding in findings) for level in Level}
        called = definition.reference if definition is not None else _shown(folder)
        risky = f", risk {risk.assess(definition).risk}" if definition is not None else ""
        lines.append(f"{called}: {', '.join(_counted(number, level) for level, number in count.items())}{risky}")
    return "\n".join(lines) or "no definition is registered: OPS_MIGRATIONS names folders of them"


def _counted(number: int, level: Level) -> str:
    return f"{number} {level}{'' if number == 1 else 's'}"


def _document(looked: Sequence[Looked]) -> list[dict[str, Any]]:
    return [
        {
            "folder": str(folder),
            "definition": definition.reference if definition is not None else None,
            "checksum": definition.checksum if definition is not None else None,
            "risk": risk.assess(definition).risk if definition is not None else None,
            "risk_reasons": list(risk.assess(definition).reasons) if definition is not None else [],
            "findings": [finding.document() for finding in findings],
        }
        for folder, definition, findings in looked
    ]


def _chosen(which: Sequence[str]) -> list[Definition | BadDefinitionError]:
    """Return what the arguments name; raise `CommandError` where one names nothing."""
    registered: list[Definition | BadDefinitionError] = [*registry.every(), *registry.broken()]
    if not which:
        return registered
    chosen: list[Definition | BadDefinitionError] = []
    for word in which:
        found = _folders(Path(word)) if Path(word).is_dir() else _named(word, registered)
        if not found:
            raise CommandError(
                f"{word!r} is neither a folder with definitions nor a registered one", returncode=BAD_USAGE
            )
        chosen += [each for each in found if each not in chosen]
    return chosen


def _folders(path: Path) -> list[Definition | BadDefinitionError]:
    folders = [path] if (path / DOCUMENT).is_file() else sorted(each.parent for each in path.glob(f"*/{DOCUMENT}"))
    found: list[Definition | BadDefinitionError] = []
    for folder in folders:
        try:
            found.append(registry.read(folder))
        except BadDefinitionError as error:
            found.append(error)
    return found


def _named(word: str, registered: Sequence[Definition | BadDefinitionError]) -> list[Definition | BadDefinitionError]:
    """Return the registered ones of this name, with or without a version; bad ones by their folder's name."""
    return [
        each
        for each in registered
        if word
        in ({each.name, f"{each.name}-{each.version_to}"} if isinstance(each, Definition) else {each.folder.name})
    ]


def _looked_at(each: Definition | BadDefinitionError) -> Looked:
    if isinstance(each, Definition):
        among = [other for other in registry.every() if other.folder != each.folder]
        return each.folder, each, lint(each, among=among)
    findings = [
        Finding(
            level=Level.ERROR,
            step=None,
            file=problem.file,
            line=problem.line,
            rule="definition",
            message=f"{problem.field}: {problem.message}" if problem.field else problem.message,
        )
        for problem in each.problems
    ]
    return each.folder, None, findings


def _shown(path: Path) -> str:
    """Return a path as short as it can be read from here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
