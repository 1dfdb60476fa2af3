"""Idempotency keys: a POST sent twice under one key is done once, and answered twice with the same words.

The key's row is inserted by the transaction that does the work, so that the two are one: a crash leaves neither, and
of two requests at once the second waits on the unique constraint until the first has committed, then repeats its
answer. Kept are the answers of work that was decided: 2xx, and 403 and 409 with what they say. Everything else (400,
404, 413, 429, 5xx) leaves the key free: nothing was done that a repetition could double.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django.db import OperationalError, connection, transaction
from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter
from psycopg.errors import LockNotAvailable
from rest_framework import status
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core import problems
from apps.core.database import loaded
from apps.core.ids import uuid7
from apps.core.strict_json import body_digest
from apps.tenancy.authentication import principal_of
from apps.tenancy.context import in_tenant

KEPT_FOR_H: Final = 24
HEADER: Final = "Idempotency-Key"
REPEATED: Final = ("Content-Type", "Location")
_VISIBLE = re.compile(r"[\x21-\x7e]{1,255}")
_KEPT: Final = frozenset({status.HTTP_403_FORBIDDEN, status.HTTP_409_CONFLICT})

PARAMETER = OpenApiParameter(
    HEADER,
    str,
    OpenApiParameter.HEADER,
    description=f"1 to 255 visible ASCII characters: the same key and body within {KEPT_FOR_H} h get the same answer, "
    "marked `Idempotent-Replayed: true`, and nothing is done twice",
)

# Waits for a transaction that holds the same key, by the unique constraint and within the role's lock_timeout (5 s).
CLAIM = f"""
INSERT INTO idempotency_keys (key_id, tenant_id, subject, route, key, digest, headers, body, expires_at)
SELECT %(id)s, tenant_id, %(subject)s, %(route)s, %(key)s, %(digest)s, '{{}}', '',
       clock_timestamp() + interval '{KEPT_FOR_H} hours'
  FROM tenants WHERE tenant_id = %(tenant)s
ON CONFLICT (tenant_id, subject, route, key) DO UPDATE
   SET key_id = excluded.key_id, digest = excluded.digest, status = NULL, headers = '{{}}', body = '',
       expires_at = excluded.expires_at
 WHERE idempotency_keys.expires_at <= clock_timestamp()
RETURNING key_id
"""
HELD = """
SELECT digest, status, headers, body FROM idempotency_keys
 WHERE tenant_id = %(tenant)s AND subject = %(subject)s AND route = %(route)s AND key = %(key)s
"""
PURGE = """
WITH over AS MATERIALIZED (
    SELECT key_id FROM idempotency_keys WHERE expires_at <= clock_timestamp() LIMIT %s FOR UPDATE SKIP LOCKED
)
DELETE FROM idempotency_keys USING over WHERE idempotency_keys.key_id = over.key_id
"""

Answer = Response | problems.Problem


@dataclass(frozen=True, kw_only=True)
class _Key:
    """A key as brought: its scope, and the digest by which the same request is known."""

    tenant_id: str
    subject: str
    route: str
    key: str
    digest: str

    def values(self) -> dict[str, str]:
        return {
            "tenant": self.tenant_id,
            "subject": self.subject,
            "route": self.route,
            "key": self.key,
            "digest": self.digest,
        }


def answer_once(request: Request, *, tenant_id: str, act: Callable[[], Answer]) -> HttpResponse:
    """Do `act` in the tenant's context and return its answer; under a key that was used before, return that answer.

    `act` returns the answer of what it wrote: a response, or a problem to be told although something was written (a
    refused job). A problem that it raises undoes what it wrote. Raises that problem either way, and 400
    `invalid_idempotency_key`, 409 `idempotency_conflict` for another body, 409 `idempotency_in_progress` when the first
    request is still at work after 5 s.
    """
    key = _key(request, tenant_id=tenant_id)
    with in_tenant(tenant_id):
        claim = None if key is None else _claim(key)
        if isinstance(claim, HttpResponse):
            return claim
        if claim is None:
            answer = act()
        else:
            answer = _attempt(act)
            _settle(claim, answer=answer, request=request)
    if isinstance(answer, problems.Problem):
        raise answer
    return answer


def refuse_key(request: Request, *, reason: str) -> None:
    """Refuse a request that brings a key where one cannot be kept: it would be forgotten unnoticed."""
    if HEADER in request.headers:
        raise problems.BadRequest(f"{HEADER}: {reason}.", code="invalid_idempotency_key")


def purge_expired(*, limit: int = 10_000) -> int:
    """Delete keys whose time is over, for the loops; return how many. Until then they are taken over when used."""
    with connection.cursor() as cursor:
        cursor.execute(PURGE, [limit])
        return int(cursor.rowcount)


def _attempt(act: Callable[[], Answer]) -> Answer:
    """Act behind a savepoint: of a conflict that is raised the answer is kept, and nothing of what led to it."""
    try:
        with transaction.atomic():
            return act()
    except problems.Problem as problem:
        if problem.status not in _KEPT:
            raise
        return problem


def _key(request: Request, *, tenant_id: str) -> _Key | None:
    """Return the request's key, None where it brings none; raise for one that is no key."""
    text = request.headers.get(HEADER)
    if text is None:
        return None
    if not _VISIBLE.fullmatch(text):
        raise problems.BadRequest(
            f"{HEADER} has 1 to 255 visible ASCII characters.",
            code="invalid_idempotency_key",
            errors=[problems.FieldError(field=HEADER, message="1 to 255 visible ASCII characters would be right")],
        )
    match = request.resolver_match
    # The address belongs to the request's identity: the same key for another object of the same route is a conflict.
    exact = f"{request.method} {request.get_full_path()}\n{body_digest(request)}"
    return _Key(
        tenant_id=tenant_id,
        subject=principal_of(request).subject,
        route=f"{request.method} {match.route if match else request.path}",
        key=text,
        digest=hashlib.sha256(exact.encode()).hexdigest(),
    )


def _claim(key: _Key) -> UUID | HttpResponse | None:
    """Take the key for this transaction and return its row's id, or the answer that was given under it before.

    None for a tenant that does not exist: there is nothing to keep a key with, and the work will say so.
    """
    with connection.cursor() as cursor:
        try:
            cursor.execute(CLAIM, {**key.values(), "id": uuid7()})
        except OperationalError as error:
            if not isinstance(error.__cause__, LockNotAvailable):
                raise
            raise problems.Conflict(
                "A request with this Idempotency-Key is still at work.", code="idempotency_in_progress", retry_after_s=1
            ) from error
        taken = cursor.fetchone()
        if taken is not None:
            return UUID(str(taken[0]))
        cursor.execute(HELD, key.values())
        held = cursor.fetchone()
    if held is None:
        return None
    digest, code, headers, body = held
    if digest != key.digest:
        raise problems.Conflict(
            "This Idempotency-Key was used with another request: a new request needs a new key.",
            code="idempotency_conflict",
        )
    return _replay(status_code=code, headers=loaded(headers), body=body)


def _replay(*, status_code: int, headers: Mapping[str, str], body: str) -> HttpResponse:
    """Return the answer as it was given, byte for byte."""
    answer = HttpResponse(body.encode(), status=status_code)
    for name, value in headers.items():
        answer[name] = value
    answer["Idempotent-Replayed"] = "true"
    return answer


def _settle(key_id: UUID, *, answer: Answer, request: Request) -> None:
    """Keep the answer under its key, or let the key go."""
    given: HttpResponse = answer if isinstance(answer, Response) else problems.respond(answer, request=request._request)
    body = JSONRenderer().render(answer.data) if isinstance(answer, Response) else given.content
    with connection.cursor() as cursor:
        if given.status_code >= status.HTTP_400_BAD_REQUEST and given.status_code not in _KEPT:
            cursor.execute("DELETE FROM idempotency_keys WHERE key_id = %s", [key_id])
            return
        headers = {name: given[name] for name in REPEATED if name in given.headers}
        if isinstance(answer, Response):
            headers["Content-Type"] = JSONRenderer.media_type  # it says another until DRF renders it
        cursor.execute(
            "UPDATE idempotency_keys SET status = %s, headers = %s, body = %s WHERE key_id = %s",
            [given.status_code, json.dumps(headers), body.decode(), key_id],
        )
