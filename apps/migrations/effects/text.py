"""A text of SQL, parsed and looked through: its statements' effects, and whatever it names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import postgast
from google.protobuf.message import DecodeError
from postgast import pg_query_pb2 as tree

from apps.migrations.effects.facts import Effect, Fact, Node, Notes, qualifier, strings
from apps.migrations.effects.statements import OF_KIND, REACHING, READING, alone

# Of what psycopg fills in, a batch has these two; any other % means itself.
BOUNDS = ("after", "upto")
# A statement of several times as many can overflow the parser's stack, and the process with it.
MOST_WORDS = 10_000
_BOUND = re.compile(rf"%\(({'|'.join(BOUNDS)})\)s")
_BLANKS = re.compile(rb"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*", re.DOTALL)


class BadSqlError(ValueError):
    """A text that PostgreSQL would not read; `line` (1-based) is where it would stop."""

    def __init__(self, message: str, *, line: int) -> None:
        """Take PostgreSQL's own message."""
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A text as it was understood.

    `lines`: where each statement begins. `mentions`: whatever it names, in lower case. `bounds`: those of a batch that
    it holds. `question`: it is one SELECT. A text that could not be read through has no lines, and is opaque.
    """

    lines: tuple[int, ...]
    facts: tuple[Fact, ...]
    mentions: frozenset[str]
    bounds: frozenset[str]
    question: bool

    def of(self, *effects: Effect) -> list[Fact]:
        """Return the facts of these kinds."""
        return [fact for fact in self.facts if fact.effect in effects]


def filled(text: str) -> str:
    """Return the text with a batch's bounds as PostgreSQL's own placeholders, line for line."""
    return _BOUND.sub(lambda found: f"${BOUNDS.index(found[1]) + 1}", text)


def read(text: str) -> Reading:
    """Return what the text does; raises `BadSqlError`."""
    source = filled(text)
    bounds = frozenset(_BOUND.findall(text))
    try:
        too_long = _longest(source) > MOST_WORDS
        parsed = None if too_long else postgast.parse(source)
    except postgast.PgQueryError as error:
        before = source[: max((error.cursorpos or 1) - 1, 0)]
        raise BadSqlError(error.message, line=before.count("\n") + 1) from error
    except DecodeError:  # deeper than protobuf takes: PostgreSQL may well take it
        parsed = None
    if parsed is None:
        return _unread(source, bounds)
    notes = Notes()
    lines = []
    nodes = [postgast.unwrap_node(raw.stmt) for raw in parsed.stmts]
    for raw, node in zip(parsed.stmts, nodes, strict=True):
        notes.line = _line(source.encode(), raw.stmt_location)
        lines.append(notes.line)
        _examine(node, notes)
    return Reading(
        lines=tuple(lines),
        facts=tuple(notes.facts),
        mentions=frozenset(_mentions(parsed)),
        bounds=bounds,
        question=len(nodes) == 1 and isinstance(nodes[0], tree.SelectStmt),
    )


def _longest(source: str) -> int:
    """Return how many words the longest statement has; raises PgQueryError."""
    longest = words = 0
    for token in postgast.scan(source).tokens:
        words = 0 if token.token == tree.ASCII_59 else words + 1
        longest = max(longest, words)
    return longest


def _unread(source: str, bounds: frozenset[str]) -> Reading:
    """Return what is known of a text with a statement that is too long or nested too deep to be read here."""
    fact = Fact(effect=Effect.OPAQUE, line=1, what="a statement that is too long, or nested too deep, to be read")
    words = frozenset(re.findall(r"\w+", source.lower()))
    return Reading(lines=(), facts=(fact,), mentions=words, bounds=bounds, question=False)


def _line(source: bytes, location: int) -> int:
    """Return where a statement itself begins: behind the blanks and comments that the parser counts in."""
    blanks = _BLANKS.match(source, location)
    return source[: blanks.end() if blanks else location].count(b"\n") + 1


def _mentions(message: Node) -> Iterator[str]:
    """Yield every word of the tree: names, and texts, which may hold names."""
    for descriptor, value in message.ListFields():
        for each in value if descriptor.is_repeated else (value,):
            if descriptor.message_type is not None:
                yield from _mentions(each)
            elif isinstance(each, str):
                yield from (each.lower(), *re.findall(r"\w+", each.lower()))


def _examine(node: Node, notes: Notes) -> None:
    """Note all effects of one statement."""
    kind = type(node).__name__
    if kind not in READING:
        notes.note(Effect.WRITES, kind.removesuffix("Stmt"))
    if kind in REACHING:
        notes.note(Effect.REACHES, REACHING[kind])
    if (word := alone(node)) is not None:
        notes.note(Effect.STANDS_ALONE, word)
    if (own := OF_KIND.get(kind)) is not None:
        own(node, notes)
    for _, part in postgast.walk(node):
        _look_at(part, notes)


def _look_at(node: Node, notes: Notes) -> None:
    """Look at one part: relations, types and calls that say their schema, and rows that are changed."""
    if isinstance(node, tree.RangeVar):
        notes.named(node.schemaname)
    elif isinstance(node, tree.TypeName):
        notes.named(qualifier(node.names))
    elif isinstance(node, tree.ColumnRef):
        notes.named(qualifier(node.fields, own=2))
    elif isinstance(node, tree.FuncCall):
        notes.named(qualifier(node.funcname))
        first = postgast.unwrap_node(node.args[0]) if node.args else None
        if strings(node.funcname)[-1:] == ["set_config"] and isinstance(first, tree.A_Const):
            notes.setting(first.sval.sval)
    elif isinstance(node, tree.LockingClause):
        notes.note(Effect.WRITES, "locks rows")
    elif isinstance(node, tree.IntoClause):
        notes.note(Effect.WRITES, "makes a table")
    elif isinstance(node, tree.InsertStmt | tree.UpdateStmt | tree.DeleteStmt | tree.MergeStmt):
        _rows(node, notes)


def _rows(node: Node, notes: Notes) -> None:
    verb, table = type(node).__name__.removesuffix("Stmt").lower(), node.relation.relname
    notes.note(Effect.WRITES, f"{verb} of {table}")
    written_out = isinstance(node, tree.InsertStmt) and not _chosen(node)
    if not written_out:
        notes.on_table(Effect.FILLS, table, f"{verb} of {table}")
    if isinstance(node, tree.DeleteStmt) and not node.HasField("where_clause"):
        notes.on_table(Effect.DESTROYS, table, f"all rows of {table}")


def _chosen(node: Node) -> bool:
    """Say whether an INSERT takes its rows from a query, of which nobody knows how many."""
    if not node.HasField("select_stmt"):
        return False
    return not postgast.unwrap_node(node.select_stmt).values_lists
