"""What is wrong with a folder, said so that its author can put it right at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

DOCUMENT = "migration.yaml"


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Problem:
    """One defect: the file (relative to the folder, '': itself), its line (1-based), the field, what would be right."""

    file: str
    line: int
    field: str
    message: str

    def __str__(self) -> str:
        """Return it as one line."""
        place = f"{self.file}:{self.line}: " if self.file else ""
        return f"{place}{self.field + ': ' if self.field else ''}{self.message}"


class BadDefinitionError(Exception):
    """A folder that is no definition, or one that another folder says it is, too. `problems` has all that is wrong."""

    def __init__(self, *, folder: Path, problems: Sequence[Problem]) -> None:
        """Take the folder and what is wrong with it; at least one problem."""
        self.folder = folder
        self.problems = tuple(problems)
        super().__init__(f"{folder}: " + "; ".join(str(problem) for problem in self.problems))
