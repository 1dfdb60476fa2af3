"""DuckDB in a box: one SELECT over a tenant's datasets, in memory, its result written as Parquet.

The SQL is a tenant's, so it is hostile until proven plain. DuckDB opens nothing itself: inputs are handed in as
Arrow tables, the result is taken out as Arrow batches, its configuration is locked, and it may not spill to disk.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, NamedTuple, TypeVar

from apps.jobs.types import Context, PermanentError
from workers.catalog.datasets import read_table, told_by_system, write_parquet

NAME_PATTERN = "^[a-z][a-z0-9_]{0,62}$"  # what a table can be called without quotes
MEMORY_LIMIT = "512MB"
_BATCH_ROWS = 122_880  # DuckDB's own row group
_LOOK_EVERY_S = 0.1
_LOCKED_UP = {
    "enable_external_access": "false",
    "python_enable_replacements": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "temp_directory": "",
    "threads": "1",
    "lock_configuration": "true",
}

_T = TypeVar("_T")


class SqlError(PermanentError):
    """The query cannot run. Names DuckDB's class of error; its words may quote a value and stay with the tenant."""

    default_code = "sql_failed"


class Written(NamedTuple):
    """What a query read and wrote, in rows."""

    rows_in: int
    rows_out: int


def write_query(
    ctx: Context,
    *,
    sql: str,
    inputs: Mapping[str, str],
    output: str,
    bindings: Mapping[str, object],
    memory_limit: str = MEMORY_LIMIT,
) -> Written:
    """Run `sql` over `inputs` (table name → Parquet path) and write its result to the path `output`.

    `bindings` are the parameters ($name) it may name; those it does not name are left out. Stops when the job is
    told to. Raises SqlError on SQL that is no single query or fails, and what reading and writing raise.
    """
    import duckdb  # noqa: PLC0415 - heavy: see the package's docstring

    with duckdb.connect(":memory:", config={**_LOCKED_UP, "memory_limit": memory_limit}) as connection:
        named = _parameters(connection, sql)
        if unknown := sorted(named - set(bindings)):
            known = ", ".join(f"${name}" for name in bindings) or "none"
            raise SqlError(f"the SQL asks for ${unknown[0]}, which is not given; known: {known}", code="sql_parameter")
        rows_in = 0
        for name, path in inputs.items():
            table = read_table(ctx, path=path, name=name)
            connection.register(name, table)
            rows_in += table.num_rows
            ctx.checkpoint()
        bound = {name: value for name, value in bindings.items() if name in named}

        def select() -> int:
            reader = _told(lambda: connection.sql(sql, params=bound).to_arrow_reader(_BATCH_ROWS))
            return write_parquet(ctx, path=output, schema=reader.schema, batches=_batches(reader))

        return Written(rows_in, _interruptible(ctx, connection, select))


def parameters(sql: str) -> frozenset[str]:
    """Return the names of the parameters `sql` asks for; raise SqlError if it is not a single query."""
    import duckdb  # noqa: PLC0415

    with duckdb.connect(":memory:", config=_LOCKED_UP) as connection:
        return _parameters(connection, sql)


def _parameters(connection: Any, sql: str) -> frozenset[str]:
    import duckdb  # noqa: PLC0415

    statements = _told(lambda: connection.extract_statements(sql))
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise SqlError("the SQL must be one SELECT (WITH … SELECT too), and nothing else", code="sql_not_a_query")
    return frozenset(statements[0].named_parameters)


def _interruptible(ctx: Context, connection: Any, work: Callable[[], _T]) -> _T:
    """Do `work` in a thread of its own while this one listens for the wish to stop.

    This way round because the plane is only ever spoken to from the handler's thread, and because the worker's
    deadline arrives as a signal, which Python delivers to the main thread between two of its own steps.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="sql") as pool:
        future: Future[_T] = pool.submit(work)
        try:
            while not wait([future], timeout=_LOOK_EVERY_S).done and not ctx.cancelled:
                pass
        finally:
            while not future.done():  # again and again: an interrupt between two of DuckDB's steps is lost
                connection.interrupt()
                wait([future], timeout=_LOOK_EVERY_S)
    if future.exception() is not None:
        ctx.checkpoint()  # interrupted because told to: that, and not DuckDB's word for it, is how the attempt ends
    return future.result()


def _batches(reader: Any) -> Iterator[Any]:
    while (batch := _told(lambda: next(reader, None))) is not None:
        yield batch


def _told(step: Callable[[], _T]) -> _T:
    """Do one step of DuckDB's; turn its errors into SqlError, named by class only.

    Raised while a result is drawn, they come as Arrow's OSError, "Conversion Error: …", the class in the text alone.
    """
    import duckdb  # noqa: PLC0415
    import pyarrow as pa  # noqa: PLC0415

    try:
        return step()
    except (duckdb.InternalException, duckdb.FatalException):
        raise  # a defect of DuckDB's: nobody's SQL is to blame, another attempt may do
    except duckdb.Error as error:
        raise _sql_error(type(error).__name__) from error
    except (pa.ArrowException, OSError) as error:
        if told_by_system(error):
            raise
        named = str(error).partition(" Error: ")[0].title().replace(" ", "") + "Exception"
        raise _sql_error(named if hasattr(duckdb, named) else "Error") from error


def _sql_error(kind: str) -> SqlError:
    """Return the error for DuckDB's exception class `kind`; its code reads as sql_out_of_memory."""
    words = re.findall(r"[A-Z][a-z]+", kind.removesuffix("Exception"))
    return SqlError(f"the SQL failed: {kind}", code="_".join(["sql", *words]).lower())
