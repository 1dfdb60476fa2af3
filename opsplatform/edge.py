"""What machines ask of the edge: is it alive, is it ready, what did it count, with which keys are its tokens checked.

Plain views without DRF: they must answer when much else cannot. `urlpatterns` is included at the root by `urls.py`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any, Final

from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.http import require_safe
from kombu import Connection

from apps.core import metrics as counted
from apps.core import problems
from apps.tenancy import keys, tokens
from apps.tenancy.authentication import CHALLENGE, bearer

BROKER_TIMEOUT_S: Final = 0.5
BROKER_REMEMBERED_S: Final = 5.0
JWKS_REMEMBERED_S: Final = 300
# What a proxy on this machine adds: with one of them in the request, the peer's address says nothing about the caller.
_FORWARDED: Final = ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_VIA")


@require_safe
def livez(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 - Django's signature
    """Say that this process answers; it asks nobody."""
    return JsonResponse({"status": "alive"})


@require_safe
def readyz(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """Say whether requests can be served: 200 or 503, with each check.

    A broker that is away is told and does not count: jobs are taken, wait in the database and run when it is back.
    """
    checks = {"database": _database(), "migrations": _migrations.check(), "broker": _broker.check()}
    ready = checks["database"]["ok"] and checks["migrations"]["ok"]
    answer = JsonResponse({"status": "ready" if ready else "not_ready", "checks": checks})
    if not ready:
        answer.status_code = HTTPStatus.SERVICE_UNAVAILABLE
        answer["Retry-After"] = str(problems.DATABASE_RETRY_S)
    return answer


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Tell what was counted, in Prometheus' text format: free on loopback, elsewhere for the scope `metrics:read`."""
    if not _from_loopback(request):
        _require_metrics_scope(request)
    return HttpResponse(counted.exposition(), content_type=counted.CONTENT_TYPE)


@require_safe
def jwks(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """Publish the keys with which others check the tokens signed here: public parts only (RFC 7517)."""
    answer = JsonResponse(keys.public_jwks(), content_type="application/jwk-set+json")
    answer["Cache-Control"] = f"public, max-age={JWKS_REMEMBERED_S}"
    return answer


def _from_loopback(request: HttpRequest) -> bool:
    if any(name in request.META for name in _FORWARDED):
        return False
    try:
        return ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False  # a Unix socket: whoever connects to it is a proxy


def _require_metrics_scope(request: HttpRequest) -> None:
    """Return if `request` may read the metrics from elsewhere; raise the problem that says what it lacks."""
    try:
        principal = bearer(request)
    except tokens.TokenError as error:
        challenge = {"WWW-Authenticate": f'{CHALLENGE}, error="invalid_token"'}
        raise problems.Unauthorized(error.sentence, headers=challenge) from error
    if principal is None:
        raise problems.Unauthorized(
            "A bearer token is needed.", code="not_authenticated", headers={"WWW-Authenticate": CHALLENGE}
        )
    if not principal.may("metrics:read"):
        raise problems.Forbidden("The token lacks the scope metrics:read.", code="missing_scope", scope="metrics:read")


def _database() -> dict[str, Any]:
    started = time.monotonic()
    try:
        with connection.cursor() as cursor:
            cursor.execute("select 1")
    except Exception as error:  # noqa: BLE001 - whatever the reason, it is not ready; the class says enough
        return {"ok": False, "error": type(error).__name__}
    return {"ok": True, "ms": round((time.monotonic() - started) * 1000, 1)}


def _ask_migrations() -> dict[str, Any]:
    executor = MigrationExecutor(connection)
    missing = [
        f"{step.app_label}.{step.name}" for step, _ in executor.migration_plan(executor.loader.graph.leaf_nodes())
    ]
    return {"ok": not missing, **({"missing": missing} if missing else {})}


def _ask_broker() -> dict[str, Any]:
    patience = {"socket_connect_timeout": BROKER_TIMEOUT_S, "socket_timeout": BROKER_TIMEOUT_S}
    with Connection(
        settings.ENVIRONMENT.broker_url, connect_timeout=BROKER_TIMEOUT_S, transport_options=patience
    ) as broker:
        broker.ensure_connection(max_retries=1, timeout=BROKER_TIMEOUT_S, interval_start=0, interval_step=0)
    return {"ok": True}


class _Remembered:
    """A check that costs more than a glance, asked by one thread at a time and remembered for a while."""

    def __init__(self, ask: Callable[[], dict[str, Any]], *, good_for_s: float, bad_for_s: float) -> None:
        self._ask = ask
        self._good_for_s = good_for_s
        self._bad_for_s = bad_for_s
        self._lock = threading.Lock()
        self._answer: dict[str, Any] = {}
        self._until = 0.0

    def check(self) -> dict[str, Any]:
        """Return `{"ok": …}`, and the class of what went wrong where something did."""
        with self._lock:
            if time.monotonic() >= self._until:
                try:
                    self._answer = self._ask()
                except Exception as error:  # noqa: BLE001 - the answer is no, and the class says enough
                    self._answer = {"ok": False, "error": type(error).__name__}
                self._until = time.monotonic() + (self._good_for_s if self._answer["ok"] else self._bad_for_s)
            return self._answer


# Applied migrations stay applied while this code runs; missing ones are looked for again at every question.
_migrations: Final = _Remembered(_ask_migrations, good_for_s=float("inf"), bad_for_s=0)
_broker: Final = _Remembered(_ask_broker, good_for_s=BROKER_REMEMBERED_S, bad_for_s=BROKER_REMEMBERED_S)

urlpatterns = [
    path("livez", livez),
    path("readyz", readyz),
    path("metrics", metrics),
    path(".well-known/jwks.json", jwks),
]
