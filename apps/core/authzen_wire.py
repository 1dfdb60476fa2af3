"""The AuthZEN Authorization API 1.0 on the wire: what is read of another's answers and of another's questions.

Pure, and strict where it decides: `decision` must be a JSON boolean, and a context that uses our members must use them
as they are meant. Members that we do not know are left alone, as the specification asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid5

from apps.core.authzen import Answer, Question
from apps.core.digests import digest_of
from apps.core.ids import uuid7
from apps.core.rate import parse_rate

ACTIONS = ("operations.submit", "operations.dispatch", "operations.continue")
EVALUATION = "/access/v1/evaluation"
EVALUATIONS = "/access/v1/evaluations"
WELL_KNOWN = "/.well-known/authzen-configuration"

# For an answer that says nothing of how long it may be kept: a stranger's plain {"decision": true}.
DEFAULT_MAX_AGE_S = 30
LONGEST_AGE_S = 86_400
_FOREIGN_DECISIONS = UUID("6f705f61-7574-4a7a-8a65-6e0000000001")
_LIMITS = ("weight", "max_running", "jobs_per_day", "backlog_cap", "audit_debt")


class MalformedError(ValueError):
    """What came is not of the specification's form; `field` says where."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


def answer_of(body: Any, *, default_stale_s: int = 0) -> Answer:
    """Return the decision in an evaluation response; raise `MalformedError` for anything that is none."""
    if not isinstance(body, Mapping):
        raise MalformedError("response", "an object would be right")
    allowed = body.get("decision")
    if not isinstance(allowed, bool):
        raise MalformedError("decision", "true or false would be right")
    context = body.get("context")
    if context is None:
        context = {}
    if not isinstance(context, Mapping):
        raise MalformedError("context", "an object would be right")
    return Answer(
        allowed=allowed,
        decision_id=_decision_id(context.get("decision_id")),
        policy_revision=_text(context, "policy_revision", longest=100) or "unstated",
        reason_code=_text(context, "reason_code", longest=64) or ("allowed" if allowed else "denied"),
        reason=_text(context, "reason", longest=500) or ("" if allowed else "the decision point said no"),
        limits=_limits(context.get("limits")),
        obligations=_object(context, "obligations"),
        max_age_s=_seconds(context, "max_age_s", default=DEFAULT_MAX_AGE_S),
        stale_if_error_s=_seconds(context, "stale_if_error_s", default=default_stale_s),
    )


def body_of(answer: Answer) -> dict[str, Any]:
    """Return a decision as an evaluation response."""
    return {
        "decision": answer.allowed,
        "context": {
            "decision_id": str(answer.decision_id),
            "policy_revision": answer.policy_revision,
            "reason_code": answer.reason_code,
            "reason": answer.reason,
            **answer.context(),
        },
    }


def question_of(body: Any) -> Question:
    """Return the question in an evaluation request; raise `MalformedError` that names what is wrong with it."""
    if not isinstance(body, Mapping):
        raise MalformedError("request", "an object would be right")
    subject, action, resource = (_required(body, name) for name in ("subject", "action", "resource"))
    properties = _object(resource, "properties", at="resource.")
    name = _word(action, "name", at="action.")
    if name not in ACTIONS:
        raise MalformedError("action.name", f"one of {', '.join(ACTIONS)} would be right")
    _word(subject, "type", at="subject.")
    contract = _word(resource, "id", at="resource.")
    return Question(
        subject=_word(subject, "id", at="subject."),
        action=name,
        job_type=_word(resource, "type", at="resource."),
        contract=None if contract == "-" else contract,
        tenant_id=_word(properties, "tenant", at="resource.properties."),
        environment=_word(properties, "environment", at="resource.properties.", default="default"),
        region=_word(properties, "region", at="resource.properties.", default="local"),
        priority=_word(properties, "priority", at="resource.properties.", default="normal"),
    )


def _decision_id(given: Any) -> UUID:
    """Return the point's own id; one that is no UUID keeps its identity as a derived one."""
    if given is None:
        return uuid7()
    if not isinstance(given, str) or not given or len(given) > 200:  # noqa: PLR2004 - longer is no id
        raise MalformedError("context.decision_id", "a text of up to 200 characters would be right")
    try:
        return UUID(given)
    except ValueError:
        return uuid5(_FOREIGN_DECISIONS, digest_of(given))


def _text(context: Mapping[str, Any], name: str, *, longest: int) -> str:
    value = context.get(name, "")
    if not isinstance(value, str) or "\x00" in value:
        raise MalformedError(f"context.{name}", "a text would be right")
    return value[:longest]


def _seconds(context: Mapping[str, Any], name: str, *, default: int) -> int:
    value = context.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise MalformedError(f"context.{name}", "a whole number of seconds would be right")
    return min(value, LONGEST_AGE_S)


def _limits(value: Any) -> dict[str, Any]:
    """Return the limits; a number that cannot be one is no answer, for keeping it would keep no limit."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise MalformedError("context.limits", "an object would be right")
    for name in _LIMITS:
        limit = value.get(name)
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or not 0 <= limit < 2**31):
            raise MalformedError(f"context.limits.{name}", "a whole number or null would be right")
    if value.get("rate") is not None:
        try:
            parse_rate(value["rate"])
        except ValueError as error:
            raise MalformedError("context.limits.rate", str(error).removeprefix("rate: ")) from error
    return dict(value)


def _object(holder: Mapping[str, Any], name: str, *, at: str = "context.") -> dict[str, Any]:
    value = holder.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise MalformedError(f"{at}{name}", "an object would be right")
    return dict(value)


def _required(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = body.get(name)
    if not isinstance(value, Mapping):
        raise MalformedError(name, "an object is needed")
    return value


def _word(holder: Mapping[str, Any], name: str, *, at: str, default: str | None = None) -> str:
    value = holder.get(name, default)
    if not isinstance(value, str) or not 0 < len(value) <= 200 or "\x00" in value:  # noqa: PLR2004 - no name is longer
        raise MalformedError(f"{at}{name}", "a text of 1 to 200 characters is needed")
    return value


MOST_EVALUATIONS = 1_000
SEMANTICS = ("execute_all", "deny_on_first_deny", "permit_on_first_permit")


def evaluations_of(body: Any) -> tuple[list[Any], str]:
    """Return the requests of a batch, each completed by the batch's defaults, and the semantic it is to be run by."""
    if not isinstance(body, Mapping):
        raise MalformedError("request", "an object would be right")
    items = body.get("evaluations")
    if items is None or items == []:
        return [{name: value for name, value in body.items() if name != "options"}], SEMANTICS[0]
    if not isinstance(items, list) or len(items) > MOST_EVALUATIONS:
        raise MalformedError("evaluations", f"a list of up to {MOST_EVALUATIONS} would be right")
    options = body.get("options")
    semantic = options.get("evaluations_semantic", SEMANTICS[0]) if isinstance(options, Mapping) else SEMANTICS[0]
    if semantic not in SEMANTICS:
        raise MalformedError("options.evaluations_semantic", f"one of {', '.join(SEMANTICS)} would be right")
    defaults = {name: body[name] for name in ("subject", "action", "resource", "context") if name in body}
    return [defaults | item if isinstance(item, dict) else item for item in items], semantic


def cut(answers: list[dict[str, Any]], *, semantic: str) -> list[dict[str, Any]]:
    """Return the answers up to the first that ends the batch under `semantic`."""
    ends_at = {"deny_on_first_deny": False, "permit_on_first_permit": True}.get(semantic)
    for place, answer in enumerate(answers, start=1):
        if answer["decision"] is ends_at:
            return answers[:place]
    return answers
