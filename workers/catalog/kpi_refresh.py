"""`kpi.refresh`: a KPI is computed anew, as its contract defines it.

What is computed (SQL, datasets, place of the result) stands in the contract and nowhere else: whoever submits the
job chooses at most the period. So a figure always has one definition, with a version somebody agreed to.
"""

from collections.abc import Mapping
from typing import Any

from apps.jobs.schema import ParamsSchema
from apps.jobs.types import Context, PermanentError, job_type
from workers.catalog import datasets, sandbox

# The part of a contract's document that matters here. A contract may say more: it is not ours to close.
CONTRACT = {
    "type": "object",
    "required": ["kpi"],
    "properties": {
        "kpi": {
            "type": "object",
            "required": ["name", "inputs", "sql", "output"],
            "properties": {
                "name": {"type": "string", "minLength": 1, "maxLength": 200},
                "inputs": {
                    "type": "object",
                    "minProperties": 1,
                    "maxProperties": 20,
                    "propertyNames": {"pattern": sandbox.NAME_PATTERN},
                    "additionalProperties": {"type": "string", "pattern": datasets.NAME_PATTERN},
                },
                "sql": {"type": "string", "minLength": 1, "maxLength": 100_000},
                "output": {"type": "string", "pattern": "^kpis(/[a-z0-9][a-z0-9_-]{0,62}){1,3}$"},
            },
        }
    },
}
_contract = ParamsSchema(CONTRACT, closed=False, max_bytes=1024 * 1024)


class BadContractError(PermanentError):
    """The contract does not define a KPI as this job needs it."""

    default_code = "bad_contract"


@job_type(
    "kpi.refresh",
    params={
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "period": {
                "type": ["string", "null"],
                "pattern": "^[0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?$",
                "default": None,
                "description": "The year, month or day to compute (2012, 2012-05, 2012-05-31), "
                "given to the contract's SQL as $period. Null or left out: all there is.",
            },
        },
        "examples": [{}, {"period": "2012"}],
    },
    contract="required",
    timeout_s=600,
)
def refresh(ctx: Context, params: Mapping[str, Any]) -> None:
    """Compute a KPI anew, as its contract defines it, and write the result to the tenant's storage."""
    period = params.get("period")
    kpi = _definition(ctx.contract)
    if period is not None and "period" not in sandbox.parameters(kpi["sql"]):
        raise PermanentError("the contract's SQL has no $period: the KPI cannot be computed for one", code="no_period")
    output = result_path(kpi["output"], period=period)
    written = sandbox.write_query(
        ctx,
        sql=kpi["sql"],
        inputs={name: datasets.dataset_path(dataset) for name, dataset in kpi["inputs"].items()},
        output=output,
        bindings={"period": period},
    )
    ctx.metric("rows_in", written.rows_in)
    ctx.metric("rows_out", written.rows_out)
    ctx.artifact("result", output, rows=written.rows_out)
    ctx.log("refreshed", kpi=kpi["name"], period=period, rows=written.rows_out)


def result_path(output: str, *, period: str | None) -> str:
    """Return where a KPI's result lies: a period's figures stand beside the others', never in their place."""
    return f"{output}/data.parquet" if period is None else f"{output}/period={period}/data.parquet"


def _definition(contract: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if contract is None:
        raise BadContractError("a KPI is computed under its contract only")
    if problems := _contract.problems(dict(contract)):
        said = "; ".join(f"{problem.path or 'the document'} {problem.message}" for problem in problems[:5])
        raise BadContractError(f"the contract does not define the KPI: {said}")
    definition: Mapping[str, Any] = contract["kpi"]
    return definition
