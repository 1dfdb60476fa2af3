"""What a target is at, asked of itself: its version, what its schema is made of, how large it is. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal

import psycopg

from apps.jobs.types import JobError
from apps.migrations.definition import Definition
from workers.migrations import digest, target, version
from workers.migrations.ledger import Session

Problem = Literal["unreachable", "schema_absent", "version_absent"]

_WITHIN_S: Final = 15.0
_LOCK_S: Final = 2.0
_SIZE: Final = (
    "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class"
    " WHERE relkind IN ('r', 'm') AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %s)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a target said. `digest`: of its schema; `objects`: a short digest of each thing in it, by kind and name.

    With a `problem` what could not be learnt is None: `unreachable` (also: its secret is no use), `schema_absent`,
    `version_absent` (all else is known). `why` says in a sentence, without its address, why it could not be reached.
    """

    version: str | None = None
    digest: str | None = None
    objects: Mapping[str, str] | None = None
    size_bytes: int | None = None
    problem: Problem | None = None
    why: str | None = None


def read(definition: Definition, *, account: str, tenant_id: str, target: str) -> Reading:
    """Return what the target says of itself; raises nothing: what is wrong is the reading's `problem`."""
    try:
        return _read(definition, account=account, tenant_id=tenant_id, key=target)
    except (JobError, psycopg.Error) as error:
        absent = isinstance(error, JobError) and error.code in {"schema_absent", "bad_schema"}
        why = str(error) if isinstance(error, JobError) else "its database did not answer what it was asked"
        return Reading(problem="schema_absent" if absent else "unreachable", why=why)


def of(connection: Session, definition: Definition, *, schema: str) -> Reading:
    """Return what the schema says of itself on a session in it; raises psycopg.Error."""
    with _reading(connection, schema=schema):
        objects = digest.objects(connection, schema=schema)
        size = connection.execute(_SIZE, [schema]).fetchone()
    try:
        with _reading(connection, schema=schema):
            said = version.read(connection, definition, schema=schema)
    except psycopg.ProgrammingError:  # no such table, or not ours to read
        said = None
    return Reading(
        version=said,
        digest=digest.digest(objects),
        objects=objects,
        size_bytes=None if size is None else int(size[0]),
        problem="version_absent" if said is None else None,
    )


def _read(definition: Definition, *, account: str, tenant_id: str, key: str) -> Reading:
    with target.connect(definition, account=account, tenant_id=tenant_id, target=key) as connection:
        return of(connection, definition, schema=target.schema_of(definition, target=key))


@contextmanager
def _reading(connection: Session, *, schema: str) -> Iterator[None]:
    """Ask in a transaction that may change nothing, and waits for nothing for long."""
    with connection.transaction():
        connection.execute("SET TRANSACTION READ ONLY")
        target.bound(connection, schema=schema, lock_s=_LOCK_S, statement_s=_WITHIN_S, local=True)
        yield
