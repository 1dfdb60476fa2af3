"""The API of jobs called without a socket: real tokens, the whole stack of middleware, the suite's database."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.test import Client
from django.test.client import ClientHandler

from tests.support.tokens import token

JOBS = "/operations/jobs"
ALL_SCOPES = "jobs:submit jobs:read jobs:control evidence:read"
HANDLER = ClientHandler(enforce_csrf_checks=False)
INSTANT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"


def client(**defaults: Any) -> Client:
    """Return a client that goes through the one stack of middleware of this process, as requests do in life.

    Django's own makes one for each client; among other things that looks at every static file, for 50 ms.
    """
    made = Client(**defaults)
    made.handler = HANDLER
    return made


class Module:
    """A module that calls the API with a token for some tenants."""

    def __init__(self, *tenants: str, scope: str = ALL_SCOPES) -> None:
        self._bearer = f"Bearer {token(home=settings.ENVIRONMENT.home, tenants=tenants, scope=scope)}"
        self._client = client()

    def get(self, path: str, **query: Any) -> Any:
        return self._client.get(path, query, headers={"Authorization": self._bearer})

    def ask(self, method: str, path: str, **headers: str) -> Any:
        return self._client.generic(
            method, path, b"{}", content_type="application/json", headers={"Authorization": self._bearer, **headers}
        )

    def send(self, method: str, path: str, body: Any, **query: str) -> Any:
        """Send any method with a body."""
        headers = {"Authorization": self._bearer}
        return self._client.generic(
            method,
            path,
            json.dumps(body).encode(),
            content_type="application/json",
            headers=headers,
            query_params=query or None,
        )

    def post(self, body: Any, *, path: str = JOBS, **headers: str) -> Any:
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Authorization": self._bearer, **headers}
        return self._client.post(path, text, content_type="application/json", headers=headers)

    def ids(self, **query: Any) -> list[str]:
        return [item["job_id"] for item in said(self.get(JOBS, **query))["items"]]


def said(answer: Any, status: int = 200) -> dict[str, Any]:
    """Return the body of an answer of `status`, having looked at what every answer has."""
    assert answer.status_code == status, answer.content
    assert len(answer["X-Request-Id"]) == 36
    assert answer["Content-Type"] == ("application/json" if status < 400 else "application/problem+json")
    assert answer["Cache-Control"] == "no-store"
    return dict(json.loads(answer.content))


def refused(answer: Any, status: int, code: str) -> dict[str, Any]:
    """Return the problem of a refusal, having looked at what RFC 9457 and the contract ask of it."""
    problem = said(answer, status)
    assert problem["status"] == status
    assert problem["code"] == code, problem
    assert problem["type"] == f"urn:operations:problem:{code}"
    assert problem["title"]
    assert problem["request_id"] == answer["X-Request-Id"]
    return problem


def fields(problem: dict[str, Any]) -> list[str]:
    return sorted(error["field"] for error in problem["errors"])
