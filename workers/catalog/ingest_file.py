"""`ingest.file`: a CSV, JSON or Parquet file of the tenant's becomes a dataset.

What is wrong with a file is told by row and column number, never by quoting it: Arrow's own messages repeat the
value they stumbled over, so they stay in the tenant's storage (the attempt's traceback).
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import IO, Any, NamedTuple, NoReturn

from apps.jobs.types import Context, MissingFileError, PermanentError, job_type
from workers.catalog.datasets import NAME_PATTERN, MalformedFileError, dataset_path, told_by_system, write_parquet

_FORMATS = {".csv": "csv", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
_TYPES = ("string", "int64", "float64", "bool", "date32", "timestamp")
# JSON is read whole: Arrow reads it in blocks, but settles on the columns it saw in the first.
MAX_JSON_BYTES = 256 * 1024 * 1024
_CONVERSION = re.compile(r"In CSV column #(\d+): Row #(\d+): CSV conversion error to (\w+)")


class _Source(NamedTuple):
    """An opened file: its Arrow schema and its record batches."""

    schema: Any
    batches: Iterator[Any]


@job_type(
    "ingest.file",
    params={
        "type": "object",
        "additionalProperties": False,
        "required": ["source", "dataset"],
        "properties": {
            "source": {
                "type": "string",
                "minLength": 1,
                "maxLength": 1000,
                "description": "The file: a path in the tenant's storage, or a URI in it.",
            },
            "dataset": {
                "type": "string",
                "pattern": NAME_PATTERN,
                "description": "The dataset's name: a-z, 0-9, _ and -. A dataset of that name is replaced.",
            },
            "format": {
                "enum": ["csv", "json", "jsonl", "parquet"],
                "description": "The file's format. Left out: by its ending. json: one list of objects, or one a line.",
            },
            "options": {
                "type": "object",
                "additionalProperties": False,
                "description": "How to read a CSV file.",
                "properties": {
                    "delimiter": {
                        "type": "string",
                        "minLength": 1,
                        "maxLength": 1,
                        "default": ",",
                        "description": "What stands between two values.",
                    },
                    "types": {
                        "type": "object",
                        "additionalProperties": {"enum": list(_TYPES)},
                        "description": "Types by column. The others are guessed from the file's first megabytes.",
                    },
                },
            },
        },
        "examples": [{"source": "incoming/seattle-weather.csv", "dataset": "seattle-weather"}],
    },
    timeout_s=1800,
)
def ingest(ctx: Context, params: Mapping[str, Any]) -> None:
    """Turn a CSV, JSON or Parquet file in the tenant's storage into a dataset (Parquet)."""
    source, target = params["source"], dataset_path(params["dataset"])
    form = params.get("format") or _format_of(source)
    options = params.get("options", {})
    if options and form != "csv":
        raise PermanentError("options are for CSV files only", code="options_unused")
    try:
        size = ctx.storage.size(source)
    except MissingFileError as error:
        raise MissingFileError("the source file is not in the tenant's storage") from error
    if size == 0:
        raise MalformedFileError("the source file is empty")
    if form in ("json", "jsonl") and size > MAX_JSON_BYTES:
        raise PermanentError(f"a JSON file may have at most {MAX_JSON_BYTES} bytes", code="input_too_large")
    rows_in = 0

    def after_batch(rows: int) -> None:
        nonlocal rows_in
        rows_in = rows
        ctx.progress(rows)
        ctx.checkpoint()

    with ctx.open(source, "rb") as file:
        opened = _READERS[form](file, options)
        if not opened.schema.names:
            raise MalformedFileError("the source file holds no columns")
        rows_out = write_parquet(
            ctx, path=target, schema=opened.schema, batches=opened.batches, after_batch=after_batch
        )
    ctx.metric("bytes_in", size)
    ctx.metric("rows_in", rows_in)
    ctx.metric("rows_out", rows_out)
    ctx.artifact("dataset", target, rows=rows_out)
    ctx.log("ingested", format=form, rows=rows_out, columns=len(opened.schema))


def _format_of(source: str) -> str:
    try:
        return _FORMATS[PurePosixPath(source).suffix.lower()]
    except KeyError:
        raise PermanentError(
            f"the source's ending tells no format; say format, or use one of {', '.join(_FORMATS)}",
            code="format_unknown",
        ) from None


def _read_csv(file: IO[bytes], options: Mapping[str, Any]) -> _Source:
    import pyarrow as pa  # noqa: PLC0415 - heavy: see the package's docstring
    from pyarrow import csv  # noqa: PLC0415

    ragged: list[Any] = []

    def remember(row: Any) -> str:
        ragged.append(row)
        return "error"

    arrow_types = {**{name: getattr(pa, name, None) for name in _TYPES}, "bool": pa.bool_}
    made = {name: make() for name, make in arrow_types.items() if name != "timestamp"} | {
        "timestamp": pa.timestamp("us")
    }
    types = {column: made[name] for column, name in options.get("types", {}).items()}

    def explain(error: Exception) -> NoReturn:
        if ragged:
            row = ragged[0]
            raise MalformedFileError(
                f"row {row.number} (the header is row 1) has {row.actual_columns} values, "
                f"where {row.expected_columns} are due"
            ) from error
        if found := _CONVERSION.match(str(error)):
            column, row, wanted = int(found[1]) + 1, found[2], found[3]
            right = "UTF-8 text" if wanted == "string" else f"of type {wanted}; options.types can say another"
            raise MalformedFileError(f"column {column}, row {row} (the header is row 1) is not {right}") from error
        raise MalformedFileError("the source file is not a readable CSV file in UTF-8") from error

    def open_file() -> Any:
        return csv.open_csv(
            file,
            read_options=csv.ReadOptions(use_threads=False, block_size=4 * 1024 * 1024),
            parse_options=csv.ParseOptions(
                delimiter=options.get("delimiter", ","), newlines_in_values=True, invalid_row_handler=remember
            ),
            convert_options=csv.ConvertOptions(column_types=types),
        )

    reader = _explained(open_file, explain)
    schema = _explained(lambda: _checked_header(reader.schema, types), explain)
    return _Source(schema, _each(reader, explain))


def _checked_header(schema: Any, types: Mapping[str, Any]) -> Any:
    """Return `schema`, or raise: on text that is not UTF-8 (Arrow would make it bytes) and on types for no column."""
    from pyarrow import types as kinds  # noqa: PLC0415

    names = schema.names
    for number, kind in enumerate(schema.types, start=1):
        if kinds.is_binary(kind):
            raise MalformedFileError(f"column {number} is not UTF-8 text")
    if absent := sorted(set(types) - set(names)):
        raise PermanentError(f"options.types names a column that is not there: {absent[0]!r}", code="column_missing")
    return schema


def _read_json(file: IO[bytes], options: Mapping[str, Any]) -> _Source:
    """Read one list of objects, or one object a line: the first character tells."""
    while (start := file.read(1)).isspace():
        pass
    file.seek(0)
    return _read_json_list(file) if start == b"[" else _read_json_lines(file, options)


def _read_json_lines(file: IO[bytes], options: Mapping[str, Any]) -> _Source:  # noqa: ARG001 - readers look alike
    from pyarrow import json as arrow_json  # noqa: PLC0415

    def explain(error: Exception) -> NoReturn:
        raise MalformedFileError("a line is not a JSON object of the same shape as those before it") from error

    def read() -> Any:
        settings = arrow_json.ReadOptions(use_threads=False, block_size=16 * 1024 * 1024)
        return arrow_json.read_json(file, read_options=settings)

    table = _explained(read, explain)
    return _Source(table.schema, iter(table.to_batches()))


def _read_json_list(file: IO[bytes]) -> _Source:
    import pyarrow as pa  # noqa: PLC0415

    try:
        rows = json.load(file, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise MalformedFileError(f"not JSON at line {error.lineno}, column {error.colno}") from error
    except (ValueError, RecursionError) as error:
        raise MalformedFileError("the source file is not plain JSON in UTF-8") from error
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise MalformedFileError(f"item {number} of the list is not an object")
    columns = list(dict.fromkeys(name for row in rows for name in row))
    arrays = []
    for number, column in enumerate(columns, start=1):
        try:
            arrays.append(pa.array([row.get(column) for row in rows]))
        except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
            raise MalformedFileError(f"field {number} holds values of different kinds, or out of range") from error
    table = pa.table(dict(zip(columns, arrays, strict=True)))
    return _Source(table.schema, iter(table.to_batches()))


def _refuse_constant(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def _read_parquet(file: IO[bytes], options: Mapping[str, Any]) -> _Source:  # noqa: ARG001 - readers look alike
    import pyarrow.parquet as pq  # noqa: PLC0415

    def explain(error: Exception) -> NoReturn:
        raise MalformedFileError("the source file is not a readable Parquet file") from error

    opened = _explained(lambda: pq.ParquetFile(file), explain)
    return _Source(opened.schema_arrow, _each(opened.iter_batches(use_threads=False), explain))


def _each(batches: Any, explain: Callable[[Exception], NoReturn]) -> Iterator[Any]:
    """Go through `batches`, explaining what goes wrong in reading, and in reading only."""
    waiting = iter(batches)
    while (batch := _explained(lambda: next(waiting, None), explain)) is not None:
        yield batch


def _explained(step: Callable[[], Any], explain: Callable[[Exception], NoReturn]) -> Any:
    import pyarrow as pa  # noqa: PLC0415

    try:
        return step()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if told_by_system(error):
            raise
        explain(error)


_READERS: dict[str, Callable[[IO[bytes], Mapping[str, Any]], _Source]] = {
    "csv": _read_csv,
    "json": _read_json,
    "jsonl": _read_json_lines,
    "parquet": _read_parquet,
}
