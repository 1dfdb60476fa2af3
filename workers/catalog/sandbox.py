"""DuckDB in a box: one SELECT over a tenant's datasets, in memory, its result written as Parquet.

The SQL is a tenant's, so it is hostile until proven plain. DuckDB opens nothing itself: inputs are handed in as
Arrow tables, the result is taken out as Arrow batches, its configuration is locked, and it may not spill to disk.
"""

import re
import resource
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, TypeVar

import psutil

from apps.jobs.types import Context, JobTimeout, PermanentError
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
}
# DuckDB's own limit covers its buffers, not the lists it builds: unnest(range(200000000)) took 14 GB under a limit of
# 512 MB. So the process may not grow past this either while a query runs: DuckDB meets a refused allocation with a
# clean error of its own, where the machine's out-of-memory killer would have taken a neighbour.
_GROWTH_BYTES = 1024 * 1024 * 1024

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
    with _box(memory_limit) as connection:
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

        with _bounded_growth(_GROWTH_BYTES):
            return Written(rows_in, _interruptible(ctx, connection, select))


def parameters(sql: str) -> frozenset[str]:
    """Return the names of the parameters `sql` asks for; raise SqlError if it is not a single query."""
    with _box(MEMORY_LIMIT) as connection:
        return _parameters(connection, sql)


@contextmanager
def _box(memory_limit: str) -> Iterator[Any]:
    """Open an empty database in memory that reaches nothing outside itself and takes no more settings."""
    import duckdb  # noqa: PLC0415 - heavy: see the package's docstring

    with duckdb.connect(":memory:", config={**_LOCKED_UP, "memory_limit": memory_limit}) as connection:
        connection.execute("SET enable_progress_bar = false")  # it would draw on the worker's standard output
        connection.execute("SET lock_configuration = true")
        yield connection


@contextmanager
def _bounded_growth(limit_bytes: int) -> Iterator[None]:
    """Refuse this process more than `limit_bytes` beyond what it has now. Linux only: others do not enforce it."""
    if sys.platform != "linux":
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    wall = psutil.Process().memory_info().vms + limit_bytes
    resource.setrlimit(resource.RLIMIT_AS, (wall if soft == resource.RLIM_INFINITY else min(wall, soft), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


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
            _stop(connection, future)
    if future.exception() is not None:
        ctx.checkpoint()  # interrupted because told to: that, and not DuckDB's word for it, is how the attempt ends
    return future.result()


def _stop(connection: Any, future: "Future[_T]") -> None:
    """Interrupt until the work is over: nothing may go on writing for an attempt that has ended."""
    while not future.done():  # again and again: an interrupt between two of DuckDB's steps is lost
        # The worker's alarm repeats until the handler is out. It has been heard, and is on its way up already.
        with suppress(JobTimeout):
            connection.interrupt()
            wait([future], timeout=_LOOK_EVERY_S)


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
    except MemoryError as error:
        raise _sql_error("OutOfMemoryException") from error
    except (pa.ArrowException, OSError) as error:
        if told_by_system(error):
            raise
        named = str(error).partition(" Error: ")[0].title().replace(" ", "") + "Exception"
        raise _sql_error(named if hasattr(duckdb, named) else "Error") from error


def _sql_error(kind: str) -> SqlError:
    """Return the error for DuckDB's exception class `kind`; its code reads as sql_out_of_memory."""
    words = re.findall(r"[A-Z][a-z]+", kind.removesuffix("Exception"))
    return SqlError(f"the SQL failed: {kind}", code="_".join(["sql", *words]).lower())
