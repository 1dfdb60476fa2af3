"""`ingest.postgres`: a table or one query of a PostgreSQL of the tenant's becomes a dataset, whole or by what is new.

Read in a read-only transaction through a server-side cursor, with a time-out of the server's own. Where it is reached,
and as whom, is a secret's business: no connection string stands in params. Incrementally, what to begin after is the
greatest value in the dataset itself, so that an attempt that is repeated reads the same rows again.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

from apps.jobs.types import Context, PermanentError, RetryableError, job_type
from workers.catalog import surroundings
from workers.catalog.datasets import NAME_PATTERN, dataset_path, read_table, write_parquet

BATCH_ROWS = 10_000
CONNECT_S = 10
STATEMENT_S = 600
MOST_DIGITS = 38
# By PostgreSQL's own numbers of its types; what is not here is taken as text.
_ARROW = {
    16: "bool", 20: "int64", 21: "int16", 23: "int32", 700: "float32", 701: "float64", 1082: "date32",
}  # fmt: skip
_TIMESTAMP, _TIMESTAMPTZ, _NUMERIC = 1114, 1184, 1700
_COLUMN = {"type": "string", "minLength": 1, "maxLength": 63}


@job_type(
    "ingest.postgres",
    params={
        "type": "object",
        "additionalProperties": False,
        "required": ["dsn_secret", "dataset"],
        "oneOf": [{"required": ["table"]}, {"required": ["query"]}],
        "properties": {
            "dsn_secret": {
                "type": "string",
                "pattern": surroundings.SECRET_PATTERN,
                "maxLength": 64,
                "description": "The name of the tenant's secret that holds the connection string.",
            },
            "table": {
                "type": "string",
                "pattern": "^[A-Za-z_][A-Za-z0-9_]{0,62}([.][A-Za-z_][A-Za-z0-9_]{0,62})?$",
                "description": "A table or view, with its schema or not.",
            },
            "query": {"type": "string", "minLength": 1, "maxLength": 12000, "description": "One SELECT."},
            "dataset": {"type": "string", "pattern": NAME_PATTERN, "description": "The dataset to make."},
            "cursor_column": {
                **_COLUMN,
                "description": "Read only rows whose value here is greater than any in the dataset; add them to it.",
            },
            "statement_timeout_s": {"type": "integer", "minimum": 1, "maximum": 86_400, "default": STATEMENT_S},
        },
        "examples": [{"dsn_secret": "warehouse", "table": "public.orders", "dataset": "orders", "cursor_column": "id"}],
    },
    timeout_s=3600,
)
def ingest(ctx: Context, params: Mapping[str, Any]) -> None:
    """Read a table or query of a PostgreSQL, whole or only what is new, into a dataset."""
    import psycopg  # noqa: PLC0415 - the source's, never the plane's database; heavy as the others

    name, column = params["dataset"], params.get("cursor_column")
    path = dataset_path(name)
    before = read_table(ctx, path=path, name=name) if column and ctx.storage.exists(path) else None
    dsn = surroundings.secret(tenant_id=ctx.tenant_id, name=params["dsn_secret"])
    timeout_ms = params.get("statement_timeout_s", STATEMENT_S) * 1000
    try:
        connection = psycopg.connect(dsn, connect_timeout=CONNECT_S, application_name="operations")
    except psycopg.ProgrammingError:  # its message quotes the string: nothing of it may go on
        raise PermanentError("the secret is no connection string", code="bad_secret") from None
    except psycopg.OperationalError:
        raise RetryableError("the source cannot be reached", code="unreachable") from None
    with closing(connection):
        try:
            connection.read_only = True
            connection.execute("SELECT set_config('statement_timeout', %s, true)", [f"{timeout_ms}ms"])
            with connection.cursor(name="operations", binary=False) as cursor:
                cursor.execute(*_select(params, after=_greatest(before, column)))
                schema = _schema(cursor, before=before)
                fresh = _batches(cursor, schema, ctx)
                old = before.to_batches() if before is not None else []
                rows = write_parquet(ctx, path=path, schema=schema, batches=_chained(old, fresh))
        except psycopg.Error as error:
            raise _failure(error) from error
    ctx.metric("rows_new", rows - (before.num_rows if before is not None else 0))
    ctx.metric("rows_out", rows)
    ctx.artifact("dataset", path, rows=rows)
    ctx.log("ingested", rows=rows, incremental=before is not None)


def _greatest(before: Any, column: str | None) -> Any:
    """Return the greatest value of the cursor's column in the dataset, or None where there is none."""
    import pyarrow.compute as pc  # noqa: PLC0415 - heavy: see the package's docstring

    if before is None or column is None:
        return None
    if column not in before.schema.names:
        raise PermanentError("the dataset has no such cursor column", code="column_missing")
    return pc.max(before[column]).as_py()


def _select(params: Mapping[str, Any], *, after: Any) -> tuple[Any, list[Any]]:
    """Return the one statement to run and its values; a second one the server refuses, by the extended protocol."""
    from psycopg import sql  # noqa: PLC0415

    source: sql.Composable
    if "table" in params:
        source = sql.SQL("SELECT * FROM {}").format(sql.Identifier(*params["table"].split(".")))
    else:
        source = sql.SQL(params["query"].replace("%", "%%"))
    if "cursor_column" not in params:
        return source, []
    column = sql.Identifier(params["cursor_column"])
    whole = sql.SQL("SELECT * FROM ({}) AS source").format(source)
    if after is None:
        return sql.SQL("{} ORDER BY {}").format(whole, column), []
    return sql.SQL("{} WHERE {} > {} ORDER BY {}").format(whole, column, sql.Placeholder(), column), [after]


def _schema(cursor: Any, *, before: Any) -> Any:
    """Return the Arrow schema of the answer; it must be the dataset's, where rows are added to one."""
    import pyarrow as pa  # noqa: PLC0415

    fields = []
    for column in cursor.description:
        if column.type_code in _ARROW:
            kind = getattr(pa, "bool_" if column.type_code == 16 else _ARROW[column.type_code])()  # noqa: PLR2004
        elif column.type_code in {_TIMESTAMP, _TIMESTAMPTZ}:
            kind = pa.timestamp("us", tz="UTC" if column.type_code == _TIMESTAMPTZ else None)
        elif column.type_code == _NUMERIC and column.precision and column.precision <= MOST_DIGITS:
            kind = pa.decimal128(column.precision, column.scale)
        else:
            kind = pa.string()
        fields.append(pa.field(column.name, kind))
    schema = pa.schema(fields)
    if before is not None and before.schema.remove_metadata() != schema:
        raise PermanentError("the source's columns are not the dataset's any more", code="columns_changed")
    return schema


def _batches(cursor: Any, schema: Any, ctx: Context) -> Iterator[Any]:
    """Yield the answer's rows as Arrow batches, a chunk of the cursor each."""
    import pyarrow as pa  # noqa: PLC0415

    total = 0
    while rows := cursor.fetchmany(BATCH_ROWS):
        columns = zip(*rows, strict=True)
        arrays = [_array(list(values), field.type) for values, field in zip(columns, schema, strict=True)]
        total += len(rows)
        ctx.progress(total)
        ctx.checkpoint()
        yield pa.record_batch(arrays, schema=schema)


def _array(values: list[Any], kind: Any) -> Any:
    import pyarrow as pa  # noqa: PLC0415

    if kind == pa.string():
        values = [value if value is None or isinstance(value, str) else str(value) for value in values]
    try:
        return pa.array(values, type=kind)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise PermanentError("a column holds a value that its type has no room for", code="column_type") from error


def _chained(old: list[Any], fresh: Iterator[Any]) -> Iterator[Any]:
    yield from old
    yield from fresh


def _failure(error: Any) -> PermanentError | RetryableError:
    """Return what the source's error means. Its words may quote a row, so they stay with the tenant."""
    code = f"sql_{error.sqlstate.lower()}" if error.sqlstate else "connection_lost"
    # Classes 08, 40, 53, 55, 57: the connection, a conflict, want of room, a lock, an administrator or a time-out.
    if error.sqlstate is None or error.sqlstate[:2] in {"08", "40", "53", "55", "57"}:
        return RetryableError("the source broke off", code=code)
    return PermanentError("the source refused the query", code=code)
