"""A step's SQL text as PostgreSQL's own grammar reads it: its statements, and what must not stand among them."""

from __future__ import annotations

import re
from typing import Final

import postgast

from apps.jobs.types import PermanentError

_PLACEHOLDERS: Final = re.compile(r"%(?!\((?:after|upto|version)\)s)")


class TransactionControlError(PermanentError):
    """The text ends or begins a transaction: its step is one already, and the ledger is in it."""

    default_code = "transaction_control"


def split(text: str) -> list[bytes]:
    """Return the statements of `text`, one by one; raises PermanentError where it cannot be read."""
    try:
        return [each.encode() for each in postgast.split(text)]
    except postgast.PgQueryError:
        raise _unreadable() from None


def transactional(text: str) -> bytes:
    """Return `text`, which may run in a transaction of ours; raises TransactionControlError."""
    try:
        parsed = postgast.parse(text)
    except postgast.PgQueryError:
        raise _unreadable() from None
    if any(each.stmt.WhichOneof("node") == "transaction_stmt" for each in parsed.stmts):
        raise TransactionControlError("the text begins or ends a transaction: its step is one already")
    return text.encode()


def one(text: str) -> bytes:
    """Return the one statement of `text`; raises PermanentError where there are none or several."""
    found = split(text)
    if len(found) != 1:
        raise PermanentError("one statement would be right", code="bad_step")
    return found[0]


def with_values(text: str) -> bytes:
    """Return a statement for psycopg with values; that it is but one, the server sees to.

    A `%` means itself, as where there are no values, unless it begins %(after)s, %(upto)s or %(version)s.
    """
    return _PLACEHOLDERS.sub("%%", text).encode()


def concurrent_index(statement: bytes) -> str | None:
    """Return the name of the index that a statement makes concurrently; None: it does nothing of the kind."""
    try:
        parsed = postgast.parse(statement.decode())
    except postgast.PgQueryError:
        return None
    made = parsed.stmts[0].stmt.index_stmt if len(parsed.stmts) == 1 else None
    return made.idxname if made is not None and made.concurrent and made.idxname else None


def _unreadable() -> PermanentError:
    """Say so, without the parser's words: they quote the text."""
    return PermanentError("the text is no SQL that PostgreSQL's grammar reads", code="bad_step")
