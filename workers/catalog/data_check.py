"""`data.check`: a dataset is held against rules, and the job fails for good where one is broken. Counts, never rows."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from apps.jobs.types import Context, PermanentError, job_type
from workers.catalog import quality
from workers.catalog.datasets import NAME_PATTERN, dataset_path, read_table

_COLUMN = {"type": "string", "minLength": 1, "maxLength": 200}
_BOUND = {"type": ["number", "string"], "maxLength": 40}


def _rule(name: str, required: list[str], **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["rule", *required],
        "properties": {"rule": {"const": name}, **properties},
    }


RULES = [
    _rule("not_null", ["column"], column=_COLUMN),
    _rule("unique", ["columns"], columns={"type": "array", "minItems": 1, "maxItems": 10, "items": _COLUMN}),
    _rule("range", ["column"], column=_COLUMN, min=_BOUND, max=_BOUND),
    _rule("row_count", [], min={"type": "integer", "minimum": 0}, max={"type": "integer", "minimum": 0}),
    _rule("freshness", ["column", "max_age_s"], column=_COLUMN, max_age_s={"type": "integer", "minimum": 1}),
    _rule(
        "accepted_values",
        ["column", "values"],
        column=_COLUMN,
        values={"type": "array", "minItems": 1, "maxItems": 500, "items": {"type": ["string", "number", "boolean"]}},
    ),
]


@job_type(
    "data.check",
    params={
        "type": "object",
        "additionalProperties": False,
        "required": ["dataset"],
        "properties": {
            "dataset": {"type": "string", "pattern": NAME_PATTERN, "description": "The dataset's name."},
            "source": {
                "type": "string",
                "minLength": 1,
                "maxLength": 1000,
                "description": "Its Parquet file, where that is not the dataset's own: a path, or a URI, in the "
                "tenant's storage.",
            },
            "rules": {
                "type": "array",
                "maxItems": 100,
                "items": {
                    "anyOf": RULES,
                    "description": "not_null {column}, unique {columns}, range {column, min, max}, "
                    "row_count {min, max}, freshness {column, max_age_s}, accepted_values {column, values}",
                },
                "description": "What must hold. The rules of the contract, if there is one, come on top.",
            },
        },
        "examples": [{"dataset": "seattle-weather", "rules": [{"rule": "not_null", "column": "date"}]}],
    },
    timeout_s=1800,
)
def check(ctx: Context, params: Mapping[str, Any]) -> None:
    """Hold a dataset against rules, its contract's and the job's own; fail with the rules that are broken."""
    name = params["dataset"]
    path = params.get("source") or dataset_path(name)
    rules = [*quality.of_contract(ctx.contract, dataset=name), *params.get("rules", [])]
    if not rules:
        raise PermanentError("there is no rule to hold the dataset against", code="no_rules")
    table = read_table(ctx, path=path, name=name)
    findings, now = [], datetime.now(UTC)
    for number, rule in enumerate(rules, start=1):
        findings.append(quality.check(table, rule, now=now))
        ctx.progress(number, len(rules))
        ctx.checkpoint()
    broken = [finding for finding in findings if finding.broken]
    report = f"{ctx.folder}/check.json"
    with ctx.open(report, "w") as file:
        json.dump({"dataset": name, "rows": table.num_rows, "rules": [each._asdict() for each in findings]}, file)
    ctx.metric("rows", table.num_rows)
    ctx.metric("rules", len(findings))
    ctx.metric("rules_broken", len(broken))
    ctx.artifact("report", report)
    if broken:
        said = "; ".join(finding.said() for finding in broken)
        raise PermanentError(f"{len(broken)} of {len(findings)} rules are broken: {said}", code="check_failed")
    ctx.artifact("dataset", path, rows=table.num_rows)
    ctx.log("checked", rules=len(findings), rows=table.num_rows)
