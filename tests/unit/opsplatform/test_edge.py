"""What machines ask of the edge, without a database: alive, metrics by where the asker stands, public keys."""

import dataclasses
import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import RequestFactory
from pytest_django import Settings

from apps.core import problems
from apps.core.clock import system_now
from apps.tenancy import keys, tokens
from opsplatform import edge


@pytest.fixture(autouse=True)
def _own_keys(tmp_path: Path, settings: Settings) -> None:
    keys.ensure_keys(folder=tmp_path)
    settings.ENVIRONMENT = dataclasses.replace(settings.ENVIRONMENT, keys=tmp_path, trusted_issuers=None)


def test_alive_needs_nobody() -> None:
    response = edge.livez(RequestFactory().get("/livez"))
    assert (response.status_code, json.loads(response.content)) == (200, {"status": "alive"})
    assert edge.livez(RequestFactory().post("/livez")).status_code == 405


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.10", "::1"])
def test_metrics_are_free_on_loopback(address: str) -> None:
    response = edge.metrics(RequestFactory().get("/metrics", REMOTE_ADDR=address))
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert b"operations_jobs_total" in response.content


@pytest.mark.parametrize(
    "standing",
    [
        {"REMOTE_ADDR": "10.0.0.1"},
        {"REMOTE_ADDR": ""},
        {"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": "127.0.0.1"},
        {"REMOTE_ADDR": "127.0.0.1", "HTTP_FORWARDED": "for=10.0.0.1"},
    ],
)
def test_metrics_elsewhere_need_the_scope(standing: dict[str, Any]) -> None:
    def ask(*scopes: str) -> int:
        headers = dict(standing)
        if scopes:
            token = tokens.issue(subject="prometheus", tenants=["*"], scopes=scopes, now=system_now())
            headers["HTTP_AUTHORIZATION"] = f"Bearer {token}"
        return edge.metrics(RequestFactory().get("/metrics", **headers)).status_code

    with pytest.raises(problems.Unauthorized):
        ask()
    with pytest.raises(problems.Forbidden):
        ask("jobs:read")
    assert ask("metrics:read") == 200


def test_a_forged_token_for_metrics_is_refused() -> None:
    request = RequestFactory().get("/metrics", REMOTE_ADDR="10.0.0.1", HTTP_AUTHORIZATION="Bearer a.b.c")
    with pytest.raises(problems.Unauthorized) as caught:
        edge.metrics(request)
    assert "invalid_token" in caught.value.headers["WWW-Authenticate"]


def test_public_keys_are_published_and_nothing_more() -> None:
    response = edge.jwks(RequestFactory().get("/.well-known/jwks.json"))
    (key,) = json.loads(response.content)["keys"]
    assert key.keys() == {"kty", "crv", "x", "kid", "alg", "use"}
    assert response.headers["Content-Type"] == "application/jwk-set+json"
    assert response.headers["Cache-Control"] == "public, max-age=300"


RIGHT = ["--subject", "data-acquisition", "--tenant", "acme", "--scope", "jobs:submit", "--scope", "jobs:read"]


def issued(*options: str) -> str:
    output = StringIO()
    call_command("issue_token", *RIGHT, *options, stdout=output)
    return output.getvalue()


def test_issue_token_prints_a_token_and_nothing_else() -> None:
    printed = issued("--ttl", "60")
    assert printed.count("\n") == 1
    principal = tokens.verify(printed.strip(), now=system_now())
    assert principal.scopes == {"jobs:submit", "jobs:read"}
    assert (principal.expires_at - system_now()).total_seconds() <= 60


@pytest.mark.parametrize(
    ("options", "option"),
    [
        (["--subject", "a b"], "--subject"),
        (["--tenant", "*"], "--tenant"),
        (["--scope", "jobs:all"], "--scope"),
        (["--ttl", "901"], "--ttl"),
    ],
)
def test_issue_token_names_the_option_that_is_wrong(options: list[str], option: str) -> None:
    with pytest.raises(CommandError, match=option) as caught:
        issued(*options)
    assert caught.value.returncode == 2


def test_issue_token_before_set_up_says_what_is_missing(settings: Settings, tmp_path: Path) -> None:
    settings.ENVIRONMENT = dataclasses.replace(settings.ENVIRONMENT, keys=tmp_path / "none")
    with pytest.raises(CommandError, match=r"OPS_KEYS: there is no .*tokens\.jwk") as caught:
        issued()
    assert caught.value.returncode == 2
