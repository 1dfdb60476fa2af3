"""The rules of data quality: what a job or a contract asks of a dataset, and how many rows break it. Counts only.

A contract's rules are read in the Open Data Contract Standard's form: `required` and `unique` of a property, and
`quality` of a property or of the whole (library metrics `rowCount`, `nullValues`, `duplicateValues`, `invalidValues`).
One that is not known here is an error: a rule that nobody asked would read as one that holds.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from apps.jobs.types import PermanentError

_METRICS = {"nullValues": "not_null", "duplicateValues": "unique"}


class Finding(NamedTuple):
    """A rule and how many rows break it; of a rule on the whole, 1 or 0."""

    rule: str
    column: str | None
    broken: int

    def said(self) -> str:
        """Return the finding in a few words, without any value."""
        return f"{self.rule}({self.column or ''}): {self.broken}"


class UnfitRuleError(PermanentError):
    """A rule that does not fit the dataset or is not known here."""

    default_code = "rule_unfit"


def of_contract(contract: Mapping[str, Any] | None, *, dataset: str | None) -> Iterator[dict[str, Any]]:
    """Yield the rules of a contract: of its schema object named `dataset`, or of its only one."""
    objects = [each for each in (contract or {}).get("schema", []) if isinstance(each, Mapping)]
    named = [each for each in objects if dataset in (each.get("name"), each.get("physicalName"))]
    for each in named or (objects if len(objects) == 1 else []):
        for quality in each.get("quality", []):
            yield _of_quality(quality, column=None)
        for column in each.get("properties", []):
            if column.get("required"):
                yield {"rule": "not_null", "column": column["name"]}
            if column.get("unique") or column.get("primaryKey"):
                yield {"rule": "unique", "columns": [column["name"]]}
            for quality in column.get("quality", []):
                yield _of_quality(quality, column=column["name"])


def _of_quality(quality: Mapping[str, Any], *, column: str | None) -> dict[str, Any]:
    metric = quality.get("metric") or quality.get("rule")
    if quality.get("type", "library") == "library":
        if metric == "rowCount":
            return {"rule": "row_count", **_bounds(quality)}
        if metric in _METRICS and column is not None and quality.get("mustBe") == 0:
            return {
                "rule": _METRICS[metric],
                **({"column": column} if metric == "nullValues" else {"columns": [column]}),
            }
        values = (quality.get("arguments") or {}).get("validValues")
        if metric == "invalidValues" and column is not None and values and quality.get("mustBe") == 0:
            return {"rule": "accepted_values", "column": column, "values": values}
    raise UnfitRuleError(f"the contract's quality rule {str(metric)[:64]!r} is not one that can be checked here")


def _bounds(quality: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row count's bounds, both inclusive."""
    found: dict[str, Any] = {}
    for word, value in quality.items():
        if word == "mustBe":
            found |= {"min": value, "max": value}
        elif word in {"mustBeGreaterOrEqualTo", "mustBeGreaterThan"}:
            found["min"] = value + (word == "mustBeGreaterThan")
        elif word in {"mustBeLessOrEqualTo", "mustBeLessThan"}:
            found["max"] = value - (word == "mustBeLessThan")
        elif word == "mustBeBetween":
            found |= {"min": value[0], "max": value[1]}
        elif word.startswith("mustNot"):
            raise UnfitRuleError(f"the contract's rowCount asks {word[:64]!r}, which is not checked here")
    if not found:
        raise UnfitRuleError("the contract's rowCount asks for nothing")
    return found


def check(table: Any, rule: Mapping[str, Any], *, now: datetime) -> Finding:
    """Return how many rows of an Arrow table break `rule`; raises `UnfitRuleError`."""
    import pyarrow as pa  # noqa: PLC0415 - heavy: see the package's docstring

    names = rule.get("columns") or ([rule["column"]] if "column" in rule else [])
    if absent := [name for name in names if name not in table.schema.names]:
        raise UnfitRuleError(f"the dataset has no column {absent[0]!r}", code="column_missing")
    try:
        broken = _BROKEN[rule["rule"]](table, names, rule, now)
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise UnfitRuleError(f"the rule {rule['rule']} does not fit the type of column {names}") from error
    return Finding(rule["rule"], ",".join(names) or None, int(broken))


def _not_null(table: Any, names: Sequence[str], _rule: Mapping[str, Any], _now: datetime) -> int:
    return sum(table[name].null_count for name in names)


def _unique(table: Any, names: Sequence[str], _rule: Mapping[str, Any], _now: datetime) -> int:
    return table.num_rows - table.group_by(list(names), use_threads=False).aggregate([]).num_rows  # type: ignore[no-any-return]


def _range(table: Any, names: Sequence[str], rule: Mapping[str, Any], _now: datetime) -> int:
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    column, outside = table[names[0]], 0
    for bound, compare in (("min", pc.less), ("max", pc.greater)):
        if bound in rule:
            limit = pa.scalar(rule[bound])
            # Numbers are compared as they are: a bound of 0.5 must not become the integer 0.
            limit = limit.cast(column.type) if isinstance(rule[bound], str) else limit
            outside += pc.sum(compare(column, limit)).as_py() or 0
    return outside


def _row_count(table: Any, _names: Sequence[str], rule: Mapping[str, Any], _now: datetime) -> int:
    return int(not rule.get("min", 0) <= table.num_rows <= rule.get("max", table.num_rows))


def _freshness(table: Any, names: Sequence[str], rule: Mapping[str, Any], now: datetime) -> int:
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    newest = pc.max(table[names[0]].cast(pa.timestamp("us"))).as_py()
    oldest = now.astimezone(UTC).replace(tzinfo=None) - timedelta(seconds=rule["max_age_s"])
    return int(newest is None or newest < oldest)


def _accepted_values(table: Any, names: Sequence[str], rule: Mapping[str, Any], _now: datetime) -> int:
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    column = table[names[0]]
    known = pa.array(rule["values"]).cast(column.type)
    return len(column) - column.null_count - (pc.sum(pc.is_in(column, value_set=known)).as_py() or 0)  # type: ignore[no-any-return]


_BROKEN = {
    "not_null": _not_null,
    "unique": _unique,
    "range": _range,
    "row_count": _row_count,
    "freshness": _freshness,
    "accepted_values": _accepted_values,
}
