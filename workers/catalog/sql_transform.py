"""`sql.transform`: one SELECT over a tenant's datasets makes another dataset."""

from collections.abc import Mapping
from typing import Any

from apps.jobs.types import Context, job_type
from workers.catalog import sandbox
from workers.catalog.datasets import NAME_PATTERN, dataset_path


@job_type(
    "sql.transform",
    params={
        "type": "object",
        "additionalProperties": False,
        "required": ["inputs", "sql", "output"],
        "properties": {
            "inputs": {
                "type": "object",
                "minProperties": 1,
                "maxProperties": 20,
                "propertyNames": {"pattern": sandbox.NAME_PATTERN},
                "additionalProperties": {"type": "string", "minLength": 1, "maxLength": 1000},
                "description": "Table names as the SQL uses them, each with a Parquet file: "
                "a path in the tenant's storage (datasets/weather/data.parquet), or a URI in it.",
            },
            "sql": {
                "type": "string",
                "minLength": 1,
                "maxLength": 12000,
                "description": "One SELECT in DuckDB's dialect. It reads the inputs and nothing else.",
            },
            "output": {
                "type": "string",
                "pattern": NAME_PATTERN,
                "description": "The name of the dataset to make: a-z, 0-9, _ and -. One of that name is replaced.",
            },
        },
        "examples": [
            {
                "inputs": {"weather": "datasets/seattle-weather/data.parquet"},
                "sql": "SELECT weather, count(*) AS days FROM weather GROUP BY weather ORDER BY weather",
                "output": "days-by-weather",
            }
        ],
    },
    timeout_s=1800,
)
def transform(ctx: Context, params: Mapping[str, Any]) -> None:
    """Run one SELECT (DuckDB) over datasets of the tenant's and write its result as a dataset."""
    output = dataset_path(params["output"])
    written = sandbox.write_query(ctx, sql=params["sql"], inputs=params["inputs"], output=output, bindings={})
    ctx.metric("rows_in", written.rows_in)
    ctx.metric("rows_out", written.rows_out)
    ctx.artifact("dataset", output, rows=written.rows_out)
    ctx.log("transformed", inputs=len(params["inputs"]), rows=written.rows_out)
