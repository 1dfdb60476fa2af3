"""Plans: what a contract says has to be done, compiled to steps; and what their ends make of the whole. Pure.

A plan stands in the contract's document, as `plan` or, in the Open Data Contract Standard's form, as the custom
property `plan`: {"steps": [{"name", "type", "params", "needs", "rule", "required", "timeout_s"}]}. A step needs only
steps that are written before it, so that a plan cannot run in circles.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from apps.jobs.dependencies import Rule, Verdict
from apps.jobs.schema import ParamsSchema

MOST_STEPS = 50
NAME_PATTERN = "^[a-z][a-z0-9_-]{0,62}$"
# The whole of a value, or it is no reference: text is never put together out of parts.
_REFERENCE = re.compile(
    r"\$\{steps\.(?P<step>[a-z][a-z0-9_-]{0,62})\.artifacts\.(?P<artifact>[A-Za-z0-9][A-Za-z0-9_-]{0,99})"
    r"(?:\.(?P<of>uri|digest))?\}"
)

_SCHEMA = ParamsSchema(
    {
        "type": "object",
        "additionalProperties": False,
        "required": ["steps"],
        "properties": {
            "steps": {
                "type": "array",
                "minItems": 1,
                "maxItems": MOST_STEPS,
                "items": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["name", "type"],
                    "properties": {
                        "name": {"type": "string", "pattern": NAME_PATTERN},
                        "type": {"type": "string", "minLength": 1, "maxLength": 64},
                        "params": {"type": "object"},
                        "needs": {"type": "array", "uniqueItems": True, "items": {"type": "string"}},
                        "rule": {"enum": [rule.value for rule in Rule]},
                        "required": {"type": "boolean"},
                        "timeout_s": {"type": "integer", "minimum": 1, "maximum": 7 * 86_400},
                    },
                },
            }
        },
    },
    max_bytes=256 * 1024,
)


class BadPlanError(ValueError):
    """A contract's plan that cannot be run; says where and what would be right."""


class UnresolvedError(LookupError):
    """A reference to an artifact that the named step did not record."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step of a plan: the job it is, the steps before it that it needs, and whether the whole needs it."""

    name: str
    type: str
    params: Mapping[str, Any] = field(default_factory=dict)
    needs: Sequence[str] = ()
    rule: Rule = Rule.ALL_SUCCESS
    required: bool = True
    timeout_s: int | None = None

    def kept(self) -> dict[str, Any]:
        """Return the step as JSON."""
        return {**asdict(self), "needs": list(self.needs), "rule": self.rule.value}


class Reference(NamedTuple):
    """A value of some params that stands for what another step made; `path` is its JSON Pointer."""

    path: str
    step: str
    artifact: str
    of: str


class StepEnd(NamedTuple):
    """How a step stands; `outcome` is None while it is not over."""

    name: str
    required: bool
    outcome: str | None
    reason_code: str | None
    finished_at: datetime | None


class PlanEnd(NamedTuple):
    """How a plan ended; `failed` names its first failing step, or None when it succeeded."""

    failed: StepEnd | None


def compile_plan(document: Mapping[str, Any] | None) -> list[Step]:
    """Return the steps of a contract's document, in its order; raises `BadPlanError`."""
    plan = _section(document or {})
    if problems := _SCHEMA.problems(plan):
        first = problems[0]
        raise BadPlanError(f"plan{first.path.replace('/', '.')} {first.message}")
    steps = [Step(**{**each, "rule": Rule(each.get("rule", Rule.ALL_SUCCESS))}) for each in plan["steps"]]
    before: set[str] = set()
    for step in steps:
        if step.name in before:
            raise BadPlanError(f"two steps are called '{step.name}'")
        if unknown := [name for name in step.needs if name not in before]:
            raise BadPlanError(f"step '{step.name}' needs '{unknown[0]}', which is no step before it")
        for reference in references(step.params):
            if reference.step not in step.needs:
                raise BadPlanError(f"step '{step.name}' refers to '{reference.step}' and must name it in its needs")
            if step.rule is Rule.ALWAYS:
                raise BadPlanError(f"step '{step.name}' waits for nothing, and so cannot refer to what others make")
        before.add(step.name)
    return steps


def _section(document: Mapping[str, Any]) -> Any:
    """Return the plan of a document, where either form puts it."""
    if "plan" in document:
        return document["plan"]
    custom = document.get("customProperties")
    for each in custom if isinstance(custom, list) else []:
        if isinstance(each, Mapping) and each.get("property") == "plan":
            return each.get("value")
    raise BadPlanError("it has no plan: a section 'plan' with 'steps' would be right")


def references(value: Any, path: str = "") -> Iterator[Reference]:
    """Yield every reference in `value`; raises `BadPlanError` on text that looks like one and is none."""
    if isinstance(value, str) and "${" in value:
        found = _REFERENCE.fullmatch(value)
        if found is None:
            raise BadPlanError(f"params{path.replace('/', '.')}: '${{steps.<name>.artifacts.<name>}}' would be right")
        yield Reference(path, found["step"], found["artifact"], found["of"] or "uri")
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from references(each, f"{path}/{str(name).replace('~', '~0').replace('/', '~1')}")
    elif isinstance(value, list):
        for place, each in enumerate(value):
            yield from references(each, f"{path}/{place}")


def resolved(value: Any, results: Mapping[str, Mapping[str, Any] | None]) -> Any:
    """Return `value` with each reference replaced out of the steps' recorded results; raises `UnresolvedError`."""
    if isinstance(value, str) and (found := _REFERENCE.fullmatch(value)) is not None:
        artifacts = (results.get(found["step"]) or {}).get("artifacts", [])
        for artifact in artifacts:
            if artifact["name"] == found["artifact"]:
                return artifact[found["of"] or "uri"]
        raise UnresolvedError(f"step '{found['step']}' recorded no artifact '{found['artifact']}'")
    if isinstance(value, Mapping):
        return {name: resolved(each, results) for name, each in value.items()}
    return [resolved(each, results) for each in value] if isinstance(value, list) else value


def ended(steps: Sequence[StepEnd]) -> PlanEnd | None:
    """Return how the plan ended, or None while a step has not.

    Every required step must have succeeded, or been skipped by its own rule. The first failing one is the first that
    ended in any other way by itself: what was cancelled because of it comes after it.
    """
    if any(step.outcome is None for step in steps):
        return None
    failed = [
        step
        for step in steps
        if step.required
        and step.outcome != "succeeded"
        and not (step.outcome == "cancelled" and step.reason_code == Verdict.SKIP)
    ]
    if not failed:
        return PlanEnd(None)
    causes = [step for step in failed if step.reason_code != Verdict.UPSTREAM_FAILED] or failed
    return PlanEnd(min(causes, key=lambda step: (step.finished_at is None, step.finished_at)))
