"""YAML as migrations are written in it: JSON's values in a friendlier form, and nothing beyond.

PyYAML's safe loader, with what can surprise an author or cost a reader taken away: duplicate keys, anchors, tags,
dates, and numbers that are none. Every value keeps its line.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.events import AliasEvent, Event
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from apps.migrations.folders.problems import Problem

DEEPEST = 32
_WIDEST = 1 << 63

Path = tuple[str | int, ...]

_PLAIN_TAGS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")


class _AnchorError(Exception):
    """The text has an anchor or an alias; a few of them can stand for gigabytes."""

    def __init__(self, *, line: int) -> None:
        self.line = line


class _Loader(yaml.SafeLoader):
    """The safe loader without anchors."""

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        event: Event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, AliasEvent) or getattr(event, "anchor", None):
            raise _AnchorError(line=event.start_mark.line + 1 if event.start_mark else 1)
        return super().compose_node(parent, index)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A file's value, the line of each of its parts (1-based), and what is wrong with its form."""

    value: Any
    lines: Mapping[Path, int]
    problems: list[Problem] = field(default_factory=list)


def read(text: str, *, file: str) -> Document:
    """Return what `text` says; a text that is no YAML has the value None and one problem."""
    loader = _Loader(text)
    reader = _Reader(loader=loader, file=file)
    try:
        node = loader.get_single_node()
        value = reader.value(node, ()) if node is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reader.refuse((), str(error.problem or error.context), line=mark.line + 1 if mark else 1)
        value = None
    except _AnchorError as error:
        reader.refuse((), "anchors and aliases (& and *) are refused: write the value out", line=error.line)
        value = None
    except (yaml.YAMLError, RecursionError) as error:
        too_deep = isinstance(error, RecursionError)
        reader.refuse((), "it is nested too deep" if too_deep else f"it is no YAML: {error}", line=1)
        value = None
    finally:
        loader.dispose()
    return Document(value=value, lines=reader.lines, problems=reader.problems)


def named(path: Path) -> str:
    """Return a part's name as people write it: steps[2].batch.size."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _is_text(value: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in value)


class _Reader:
    """Makes values of nodes, and notes lines and problems."""

    def __init__(self, *, loader: _Loader, file: str) -> None:
        self.loader = loader
        self.file = file
        self.lines: dict[Path, int] = {}
        self.problems: list[Problem] = []

    def refuse(self, path: Path, message: str, *, line: int) -> None:
        self.problems.append(Problem(file=self.file, line=line, field=named(path), message=message))

    def value(self, node: Node, path: Path) -> Any:
        line = node.start_mark.line + 1
        self.lines.setdefault(path, line)
        if len(path) > DEEPEST:
            self.refuse(path[:3], f"nested deeper than {DEEPEST}", line=line)
            return None
        if isinstance(node, MappingNode | SequenceNode) and node.tag not in _PLAIN_TAGS:
            self.refuse(path, f"has the tag {node.tag!r}, and tags are refused", line=line)
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode):
            return [self.value(each, (*path, number)) for number, each in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, ScalarNode) or not _is_text(key_node.value):
                self.refuse(path, "a key must be a plain word", line=line)
                continue
            key = key_node.value  # as it is written: `on` stays a word, and is no truth value
            if key in found:
                first = self.lines[(*path, key)]
                self.refuse((*path, key), f"is written twice: here, and in line {first}", line=line)
                continue
            self.lines[(*path, key)] = line
            found[key] = self.value(value_node, (*path, key))
        return found

    def _scalar(self, node: Node, path: Path) -> Any:
        line = node.start_mark.line + 1
        try:
            value = self.loader.construct_object(node)
        except (yaml.YAMLError, ValueError, OverflowError):
            self.refuse(path, "cannot be read as a value: put it into quotes", line=line)
            return None
        if isinstance(value, str) and not _is_text(value):
            self.refuse(path, "holds half a character (a lone surrogate)", line=line)
            return None
        if isinstance(value, int) and not -_WIDEST <= value < _WIDEST:
            self.refuse(path, "is a number beyond 64 bits: put it into quotes", line=line)
            return None
        if value is None or isinstance(value, str | bool | int):
            return value
        if isinstance(value, float) and math.isfinite(value):
            return value
        what = "a number that is none" if isinstance(value, float) else f"a {type(value).__name__}"
        self.refuse(path, f"is read as {what}: put it into quotes if text is meant", line=line)
        return None
