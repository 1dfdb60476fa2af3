"""`module`: the module does the work itself, at an endpoint of its own, and is asked again until it is done.

Every call of one run of a step is the same call, under the same Idempotency-Key; the token in it grows with every
attempt, and a module that keeps the greatest it has seen refuses an attempt that was given up and does not know it.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from django.conf import settings

from apps.core import outbound as client
from apps.core import strict_json
from apps.core.clock import system_now
from apps.jobs.types import Context, PermanentError, RetryableError
from apps.migrations.definition import Definition
from apps.tenancy import tokens
from workers.catalog import outbound, surroundings
from workers.migrations import session
from workers.migrations.ledger import Session, State
from workers.migrations.work import Direction, Work

SUBJECT: Final = "operations"
SCOPE: Final = "migrations:step"
TOKEN_LIVES_S: Final = 300
_WITHIN_S: Final = 30.0
_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 60.0
_FAILURES: Final = 5
_MOST_BYTES: Final = 64 * 1024
_CURSOR: Final = 200


def run(work: Work, params: Mapping[str, Any]) -> None:
    """Have the module do or undo the step, with a word in the target's ledger before and after."""

    def begin(_: Session) -> bool:
        with work.unless_done() as standing:
            if standing is None:
                return False
            work.ledger.note(work.connection, State.RUNNING, done=standing.done, total=standing.total)
            return True

    def end(_: Session) -> None:
        with work.unless_done() as standing:
            if standing is not None:
                work.finish()

    if work.transact(begin):
        call(work.ctx, work.definition, params, token=work.ledger.token)
        work.transact(end)


def call(ctx: Context, definition: Definition, params: Mapping[str, Any], *, token: int) -> None:
    """Ask the module until it is done; raises PermanentError where it failed, RetryableError where nobody answers."""
    step = definition.step(params["step"])
    up = params["direction"] == Direction.UP
    path = step.path if up else step.revert_path
    if not up and not step.undoes:
        return
    url = _url(definition, path)
    body = json.dumps(_body(definition, params, token=token), separators=(",", ":")).encode()
    key = ":".join(str(params[name]) for name in ("migration", "target", "step", "direction", "run"))
    failures = 0
    while True:
        try:
            answer, pause_s = _asked(ctx, definition, params, url=url, body=body, key=key)
        except RetryableError as error:
            failures += 1
            if failures >= _FAILURES:
                raise
            session.pause(ctx, min(error.retry_after_s or _PAUSE_S * 2**failures, _LONGEST_PAUSE_S))
            continue
        failures = 0
        if _over(ctx, answer):
            return
        session.pause(ctx, pause_s)


def _url(definition: Definition, path: str | None) -> str:
    endpoint = definition.targets.endpoint
    if endpoint is None or path is None:
        raise PermanentError("the definition names no endpoint", code="bad_step")
    url = endpoint.rstrip("/") + path
    if not settings.ENVIRONMENT.local and not client.target(url).secure:
        raise PermanentError("the module's endpoint is not https", code="not_https")
    return url


def _body(definition: Definition, params: Mapping[str, Any], *, token: int) -> dict[str, Any]:
    return {
        "migration": params["migration"],
        "target": params["target"],
        "step": params["step"],
        "direction": params["direction"],
        "version_from": definition.version_from,
        "version_to": definition.version_to,
        "token": token,
    }


def _asked(
    ctx: Context, definition: Definition, params: Mapping[str, Any], *, url: str, body: bytes, key: str
) -> tuple[Mapping[str, Any], float]:
    """Return what the module answers and how long it asks to be left alone."""
    bearer = tokens.issue(
        subject=SUBJECT,
        tenants=[ctx.tenant_id],
        scopes=[SCOPE],
        now=system_now(),
        ttl_s=TOKEN_LIVES_S,
        audience=definition.module,
    )
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {bearer}", "Idempotency-Key": key}
    grant = surroundings.grant(tenant_id=params["account"])
    with outbound.request(url, grant=grant, method="POST", body=body, headers=headers, total_s=_WITHIN_S) as response:
        if response.status not in {HTTPStatus.OK, HTTPStatus.ACCEPTED}:
            outbound.refuse(response)
        try:
            text = response.read(_MOST_BYTES + 1)
        except (OSError, http.client.HTTPException):
            raise RetryableError("the answer broke off", code="cut_off") from None
        pause_s = outbound.retry_after(response)
    try:
        answer = strict_json.loads(text) if len(text) <= _MOST_BYTES else None
    except strict_json.BadJSONError:
        answer = None
    if not isinstance(answer, dict):
        raise PermanentError("the module's answer is no object of JSON", code="bad_answer")
    return answer, min(_PAUSE_S if pause_s is None else pause_s, _LONGEST_PAUSE_S)


def _over(ctx: Context, answer: Mapping[str, Any]) -> bool:
    """Tell how far the module is, and say whether it is done; raises PermanentError where it failed."""
    state, cursor = answer.get("state"), answer.get("cursor")
    if state not in {"done", "running", "failed"}:
        raise PermanentError("the module says neither done, running nor failed", code="bad_answer")
    if (done := _count(answer.get("done"))) is not None:
        at = cursor[:_CURSOR] if isinstance(cursor, str) else None
        ctx.progress(done, _count(answer.get("total")), message=at)
    if state == "failed":
        raise PermanentError("the module says that the step failed", code="module_failed")
    return bool(state == "done")


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
