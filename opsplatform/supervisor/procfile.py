"""The Procfile: one `name: command` a line. Parsed here and run without a shell, so that a process's pid is its own."""

import re
import shlex
import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

LINE = re.compile(r"^([A-Za-z0-9][A-Za-z0-9_-]*)\s*:\s*(\S.*)$")


class BadProcfileError(ValueError):
    """A line cannot be read or run; the message names it."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One process to keep running."""

    name: str
    command: str

    def arguments(self, *, variables: Mapping[str, str]) -> list[str]:
        """Return the command's words, `$NAME` and `${NAME}` replaced; raise `BadProcfileError` for one not set."""
        try:
            return [string.Template(word).substitute(variables) for word in shlex.split(self.command)]
        except (KeyError, ValueError) as error:
            raise BadProcfileError(f"Procfile, {self.name}: cannot read {error}") from error


def read(*, path: Path, only: str = "") -> list[Line]:
    """Return the lines of the Procfile at `path`, in order; with `only` (names, comma between) just those."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadProcfileError(f"{path} cannot be read: {error.strerror}") from error
    lines: dict[str, Line] = {}
    for number, content in enumerate(text.splitlines(), start=1):
        if not content.strip() or content.lstrip().startswith("#"):
            continue
        match = LINE.match(content.strip())
        if match is None:
            raise BadProcfileError(f"{path}, line {number}: `name: command` is expected")
        name, command = match.groups()
        if name in lines:
            raise BadProcfileError(f"{path}, line {number}: {name} is there twice")
        lines[name] = Line(name=name, command=command)
    wanted = [name.strip() for name in only.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in lines]
    if unknown:
        raise BadProcfileError(f"OPS_ONLY names {unknown[0]}, which is not in {path}")
    return [line for name, line in lines.items() if not wanted or name in wanted]
