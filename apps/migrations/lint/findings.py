"""What the linter found, and where."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from apps.migrations.definition import Step
from apps.migrations.folders.problems import DOCUMENT


class Level(StrEnum):
    """What a finding means: an error refuses planning, a warning is shown to whoever approves."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One finding: the step (None: the whole), the file in the folder, the line (1-based), the rule, what is wrong."""

    level: Level
    step: str | None
    file: str
    line: int
    rule: str
    message: str

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


def of_step(step: Step, rule: str, message: str, *, level: Level = Level.ERROR) -> Finding:
    """Return a finding about a step as the document writes it."""
    return Finding(level=level, step=step.name, file=DOCUMENT, line=step.line, rule=rule, message=message)
