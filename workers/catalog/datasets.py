"""A tenant's datasets: one Parquet file each, at datasets/<name>/data.parquet in the tenant's storage."""

from collections.abc import Callable, Iterable
from typing import Any

from apps.jobs.types import Context, MissingFileError, PermanentError

# A dataset's name, as JSON Schema patterns want it. The storage judges the resulting path once more.
NAME_PATTERN = "^[a-z0-9][a-z0-9_-]{0,62}$"
# Inputs of a query are held in memory; past this, a worker with its neighbours would not fit a small machine.
MAX_INPUT_BYTES = 512 * 1024 * 1024


class MalformedFileError(PermanentError):
    """A file is not what it should be. Says where, never what stands there."""

    default_code = "file_malformed"


def dataset_path(name: str) -> str:
    """Return the path of a dataset's file in its tenant's storage."""
    return f"datasets/{name}/data.parquet"


def read_table(ctx: Context, *, path: str, name: str) -> Any:
    """Return the Parquet file at `path` as an Arrow table; `name` is what the job calls it.

    Raises MissingFileError and MalformedFileError (with `name` in their sentences), PermanentError if too large.
    """
    import pyarrow as pa  # noqa: PLC0415 - heavy: see the package's docstring
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        if ctx.storage.size(path) > MAX_INPUT_BYTES:
            raise PermanentError(f"the input {name!r} is larger than {MAX_INPUT_BYTES} bytes", code="input_too_large")
        with ctx.open(path, "rb") as file:
            return pq.read_table(file, use_threads=False)
    except MissingFileError as error:
        raise MissingFileError(f"the input {name!r} is not in the tenant's storage") from error
    except (pa.ArrowException, OSError) as error:
        if told_by_system(error):
            raise
        raise MalformedFileError(f"the input {name!r} is not a readable Parquet file") from error


def write_parquet(
    ctx: Context, *, path: str, schema: Any, batches: Iterable[Any], after_batch: Callable[[int], None] | None = None
) -> int:
    """Write Arrow record batches to `path`, whole or not at all, and return the rows its own footer counts.

    `after_batch` is told the rows so far; what it raises ends the writing. Raises PermanentError on columns that
    share a name or whose type Parquet cannot hold.
    """
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    if len(set(schema.names)) < len(schema.names):
        first = next(n for n, name in enumerate(schema.names) if name in schema.names[:n])
        raise PermanentError(f"column {first + 1} has the name of a column before it", code="duplicate_column")
    rows = 0
    try:
        with ctx.open(path, "wb") as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
            for batch in batches:
                writer.write_batch(batch)
                rows += batch.num_rows
                if after_batch is not None:
                    after_batch(rows)
    except pa.ArrowNotImplementedError as error:
        raise PermanentError("a column's type cannot be held by Parquet", code="column_type") from error
    with ctx.open(path, "rb") as file:
        return int(pq.read_metadata(file).num_rows)


def told_by_system(error: BaseException) -> bool:
    """Return whether `error` is the operating system's or the store's own, not Arrow's word on a file's content.

    Arrow raises OSError for a corrupt file too, but without an errno.
    """
    return isinstance(error, OSError) and error.errno is not None
