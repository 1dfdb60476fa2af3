"""The effects that somebody has to know of, and how they are noted while a statement is looked through."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import postgast
from postgast import pg_query_pb2 as tree

Node = Any  # a message of the parse tree: of some hundred kinds, told apart where they are looked at

_CATALOGUES = frozenset({"pg_catalog", "information_schema", "pg_temp"})
_DECIDING = frozenset({"search_path", "role", "session_authorization"})
_TIMEOUTS = frozenset({"lock_timeout", "statement_timeout", "transaction_timeout", "deadlock_timeout"})


class Effect(StrEnum):
    """What a statement does."""

    CREATES = "creates"
    DESTROYS = "destroys"  # tables, columns, types, sequences, or all rows of a table
    RENAMES = "renames"  # whoever knows the old name fails at once
    REWRITES = "rewrites"  # a table under ACCESS EXCLUSIVE, for as long as that takes
    SCANS = "scans"  # a table, under a lock that stops writes
    BLOCKS = "blocks"  # writes, for as long as an index is built or a lock is held
    REQUIRES = "requires"  # of each new row what the old version does not give
    FILLS = "fills"  # rows that are there
    WRITES = "writes"  # anything at all, or locks rows
    STANDS_ALONE = "stands_alone"  # cannot run in a transaction
    CONTROLS = "controls"  # begins or ends a transaction, or a part of one
    NAMES_SCHEMA = "names_schema"  # says itself where its tables are
    TIMES = "times"  # sets its own time-outs
    REACHES = "reaches"  # beyond the schema: roles, databases, extensions
    OPAQUE = "opaque"  # does what cannot be read here


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One effect: the line of its statement (1-based), and of what, in words ('column customers.country').

    `names`, of CREATES: any of these, named in a revert, tells that it thinks of it.
    """

    effect: Effect
    line: int
    what: str
    names: frozenset[str] = frozenset()


class Notes:
    """The facts found so far in one text; `made` are the tables that it has made itself.

    `unchecked`: (table, constraint) that it has added NOT VALID, under a lock that stands until the text's end.
    """

    def __init__(self) -> None:
        """Start with nothing found."""
        self.line = 1
        self.made: set[str] = set()
        self.unchecked: set[tuple[str, str]] = set()
        self.facts: list[Fact] = []

    def note(self, effect: Effect, what: str, *, names: Iterable[str] = ()) -> None:
        """Note an effect of the statement under way, once."""
        fact = Fact(effect=effect, line=self.line, what=what, names=frozenset(name.lower() for name in names if name))
        if fact not in self.facts:
            self.facts.append(fact)

    def on_table(self, effect: Effect, table: str, what: str) -> None:
        """Note what happens to a table that was there before the text."""
        if table not in self.made:
            self.note(effect, what)

    def renamed(self, table: str, to: str) -> None:
        """Note that a table that the text made has another name now: a revert may say either."""
        self.made.add(to)
        for number, fact in enumerate(self.facts):
            if fact.effect is Effect.CREATES and fact.what == f"table {table}":
                self.facts[number] = replace(fact, what=f"table {to}", names=fact.names | {to.lower()})

    def named(self, schema: str) -> None:
        """Note a schema that the text names itself, but for the catalogues."""
        if schema and schema not in _CATALOGUES:
            self.note(Effect.NAMES_SCHEMA, f"schema {schema}")

    def setting(self, name: str) -> None:
        """Note a setting that decides where names are looked up, who acts, or for how long."""
        if name.lower() in _DECIDING:
            self.note(Effect.NAMES_SCHEMA, f"SET {name.lower()}")
        elif name.lower() in _TIMEOUTS:
            self.note(Effect.TIMES, f"SET {name.lower()}")


def strings(names: Iterable[Node]) -> list[str]:
    """Return the parts of a dotted name."""
    parts = [postgast.unwrap_node(each) for each in names]
    return [part.sval if isinstance(part, tree.String) else "*" for part in parts]


def qualifier(names: Iterable[Node], *, own: int = 1) -> str:
    """Return the schema of a dotted name that has `own` parts of its own; '' if it says none."""
    parts = strings(names)
    return parts[-own - 1] if len(parts) > own else ""
