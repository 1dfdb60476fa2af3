"""Reading a mapping field by field: what is missing, wrong or unknown is noted with what would be right, and none of it
stops the reading, so that an author hears of everything at once."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, TypeVar, overload

from apps.migrations.folders import strict_yaml
from apps.migrations.folders.problems import Problem
from apps.migrations.folders.strict_yaml import Document, Path

_Word = TypeVar("_Word", bound=StrEnum)


class Fields:
    """One mapping of a document. Each field is asked for once; `close` refuses those that nobody asked for."""

    def __init__(self, *, document: Document, file: str, path: Path = (), problems: list[Problem]) -> None:
        """Take the mapping at `path`; anything else there is a problem, and reads as empty."""
        self.path = path
        self._document, self._file, self._problems = document, file, problems
        self._asked: set[str] = set()
        found = document.value
        for part in path:
            found = found[part]
        self._values: Mapping[str, Any] = found if isinstance(found, dict) else {}
        if not isinstance(found, dict):
            self.refuse(None, "must be fields (name: value)")

    @property
    def line(self) -> int:
        """Return the line where the mapping begins."""
        return self._document.lines.get(self.path, 1)

    @property
    def values(self) -> Mapping[str, Any]:
        """Return the mapping as it is written."""
        return self._values

    def refuse(self, name: str | None, message: str) -> None:
        """Note a problem of the field `name`, or of the mapping itself."""
        self.refuse_at(() if name is None else (name,), message)

    def refuse_at(self, below: Path, message: str) -> None:
        """Note a problem of what stands at a path below this mapping."""
        path = (*self.path, *below)
        line = next((self._document.lines[up] for up in _upwards(path) if up in self._document.lines), self.line)
        problem = Problem(file=self._file, line=line, field=strict_yaml.named(path), message=message)
        if problem not in self._problems:
            self._problems.append(problem)

    def has(self, name: str) -> bool:
        """Say whether the field is written, whatever its value."""
        return name in self._values

    def raw(self, name: str) -> Any:
        """Return the field's value as it is written, None where it is not."""
        self._asked.add(name)
        return self._values.get(name)

    @overload
    def text(self, name: str, *, right: str, default: str, pattern: str = ..., most: int = ...) -> str: ...
    @overload
    def text(self, name: str, *, right: str, default: None, pattern: str = ..., most: int = ...) -> str | None: ...
    @overload
    def text(self, name: str, *, right: str, pattern: str = ..., most: int = ...) -> str: ...
    def text(
        self, name: str, *, right: str, default: str | None = "\0", pattern: str = r"(?s).+", most: int = 500
    ) -> str | None:
        """Return a text of this pattern; where it is wrong or missing, its problem is noted and it reads as ''."""
        value = self.raw(name)
        if value is None and default != "\0":
            if self.has(name):
                self.refuse(name, f"is empty: {right} would be right; or leave it out")
            return default
        if isinstance(value, int | float) and not isinstance(value, bool):
            self.refuse(name, f'is a number: put it into quotes, "{value}"')
        elif not isinstance(value, str) or "\0" in value or len(value) > most or not re.fullmatch(pattern, value):
            self.refuse(name, f"is missing: {right}" if value is None else f"{right} would be right")
        else:
            return value
        return ""

    def word(self, name: str, words: type[_Word], *, default: _Word | None = None) -> _Word:
        """Return one of the words; without a default it must be there (and reads as the first where it is not)."""
        value = self.raw(name)
        if value is None and default is not None and not self.has(name):
            return default
        try:
            return words(value)
        except ValueError:
            said = "is missing" if value is None else f"is {value!r}" if isinstance(value, str) else "is no word"
            self.refuse(name, f"{said}: one of {', '.join(words)} would be right")
            return next(iter(words))

    def whole(self, name: str, *, default: int, least: int, most: int) -> int:
        """Return a whole number within its bounds."""
        value = self._values.get(name, default)
        self._asked.add(name)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            self.refuse(name, f"a whole number from {least} to {most} would be right")
            return default
        return value

    def number(self, name: str, *, default: float, least: float, most: float, above: bool = False) -> float:
        """Return a number within its bounds; `above`: the least is itself too little."""
        value = self._values.get(name, default)
        self._asked.add(name)
        fits = not isinstance(value, bool) and isinstance(value, int | float) and least <= value <= most
        if not fits or (above and value == least):
            bounds = f"more than {least:g} and at most {most:g}" if above else f"from {least:g} to {most:g}"
            self.refuse(name, f"a number {bounds} would be right")
            return default
        return float(value)

    def flag(self, name: str, *, default: bool) -> bool:
        """Return true or false."""
        value = self._values.get(name, default)
        self._asked.add(name)
        if not isinstance(value, bool):
            self.refuse(name, "true or false would be right")
            return default
        return value

    def mapping(self, name: str) -> Fields | None:
        """Return the fields under `name`, None where they are not written."""
        self._asked.add(name)
        return self._below(name) if self.has(name) else None

    def mappings(self, name: str, *, most: int) -> Iterator[Fields]:
        """Yield each item of the list under `name`, itself a mapping; none where it is not written."""
        value = self.raw(name)
        if value is None and not self.has(name):
            return
        if not isinstance(value, list) or len(value) > most:
            self.refuse(name, f"a list of at most {most} would be right")
            return
        for number, _ in enumerate(value):
            yield self._below(name, number)

    def params(self, name: str) -> Mapping[str, Any]:
        """Return a free mapping: a job's params."""
        value = self._values.get(name, {})
        self._asked.add(name)
        if not isinstance(value, dict):
            self.refuse(name, "fields (name: value) would be right")
            return {}
        return value

    def close(self) -> None:
        """Refuse every field that was written and not asked for."""
        for name in self._values:
            if name not in self._asked:
                near = difflib.get_close_matches(name, self._asked, n=1)
                known = f"{near[0]!r} is meant?" if near else f"known here: {', '.join(sorted(self._asked))}"
                self.refuse(name, f"is not known; {known}")

    def _below(self, *parts: str | int) -> Fields:
        return Fields(document=self._document, file=self._file, path=(*self.path, *parts), problems=self._problems)


def _upwards(path: Path) -> Iterator[Path]:
    """Yield a path, and what it stands in, up to the whole."""
    for length in range(len(path), -1, -1):
        yield path[:length]
