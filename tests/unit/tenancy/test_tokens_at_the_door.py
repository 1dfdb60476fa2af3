"""The door of every DRF view: 401 without a good token, 403 without the scope, 404 for another's tenant."""

import dataclasses
import json
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from django.test import RequestFactory
from django.urls import path
from pytest_django import Settings
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import problems
from apps.core.clock import system_now
from apps.tenancy import checks, keys, tokens
from apps.tenancy.authentication import principal_of
from apps.tenancy.permissions import tenant_or_404
from apps.tenancy.principals import ALL, ServicePrincipal


class Door(APIView):
    """Says who came in."""

    required_scopes: ClassVar[dict[str, str]] = {"GET": "jobs:read", "POST": "jobs:submit"}

    def get(self, request: Request) -> Response:
        principal = principal_of(request)
        return Response({"subject": principal.subject, "tenant": tenant_or_404(principal, request.GET.get("tenant"))})

    def post(self, request: Request) -> Response:
        return Response({"read": request.data})

    def delete(self, _: Request) -> Response:
        raise AssertionError("nobody may come this far")


class Undeclared(APIView):
    """Says nothing of scopes."""

    def get(self, _: Request) -> Response:
        raise AssertionError("nobody may come this far")


class Misspelt(Door):
    """Asks for a scope that is none."""

    required_scopes: ClassVar[dict[str, str]] = {"GET": "jobs:reed", "POST": "jobs:submit", "DELETE": "jobs:control"}


urlpatterns = [path("door", Door.as_view()), path("undeclared", Undeclared.as_view()), path("m", Misspelt.as_view())]


@pytest.fixture(autouse=True)
def _own_keys(tmp_path: Path, settings: Settings) -> None:
    keys.ensure_keys(folder=tmp_path)
    settings.ENVIRONMENT = dataclasses.replace(settings.ENVIRONMENT, keys=tmp_path, trusted_issuers=None)


def token(*scopes: str, tenants: tuple[str, ...] = ("acme",)) -> str:
    return tokens.issue(subject="m", tenants=tenants, scopes=scopes or ("jobs:read",), now=system_now())


def come(authorization: str | None, *, method: str = "GET", view: type[APIView] = Door, query: str = "") -> Any:
    headers = {} if authorization is None else {"Authorization": authorization}
    return view.as_view()(RequestFactory().generic(method, f"/operations/door{query}", headers=headers))


def code(response: Any) -> str:
    return str(json.loads(response.content)["code"])


def test_a_good_token_comes_in() -> None:
    response = come(f"Bearer {token()}")
    assert response.status_code == 200
    assert response.data == {"subject": "m", "tenant": "acme"}
    assert come(f"bearer  {token()}").status_code == 200
    assert come(f"Bearer {token()}", method="HEAD").status_code == 200


def test_no_token_is_a_401_with_a_bare_challenge() -> None:
    response = come(None)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="operations"'
    assert code(response) == "not_authenticated"


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic b3BzOm9wcw==",
        "Token x",
        "Bearer x",
        "Bearer a.b.c",
        "Bearer é.é.é",
        "Bearer " + "x" * 9000,
    ],
)
def test_a_bad_header_is_a_401_that_says_invalid_token(authorization: str) -> None:
    response = come(authorization)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="operations", error="invalid_token"'
    assert code(response) == "invalid_token"


def test_a_token_said_twice_is_refused() -> None:
    good = token()
    assert come(f"Bearer {good}, Bearer {good}").status_code == 401
    assert come(f"Bearer {good} {good}").status_code == 401


def test_an_expired_token_is_a_401_that_says_so() -> None:
    old = tokens.issue(subject="m", tenants=["acme"], scopes=["jobs:read"], now=system_now() - timedelta(hours=1))
    response = come(f"Bearer {old}")
    assert response.status_code == 401
    assert json.loads(response.content)["detail"] == "The token has expired."


def test_a_missing_scope_is_a_403_that_names_it() -> None:
    response = come(f"Bearer {token('jobs:read')}", method="POST")
    assert response.status_code == 403
    told = json.loads(response.content)
    assert (told["code"], told["scope"]) == ("missing_scope", "jobs:submit")
    assert 'error="insufficient_scope", scope="jobs:submit"' in response.headers["WWW-Authenticate"]


def test_a_view_that_declares_nothing_serves_nobody() -> None:
    assert code(come(f"Bearer {token()}", view=Undeclared)) == "scope_undeclared"
    assert code(come(f"Bearer {token('jobs:control')}", method="DELETE")) == "scope_undeclared"
    assert come(None, view=Undeclared).status_code == 401


def test_a_method_that_is_not_served_is_a_405_and_still_needs_a_token() -> None:
    response = come(f"Bearer {token()}", method="PUT")
    assert (response.status_code, code(response)) == (405, "method_not_allowed")
    assert "GET" in response.headers["Allow"]
    assert come(None, method="PUT").status_code == 401
    assert come(None, method="OPTIONS").status_code == 401


def test_the_body_is_not_read_before_the_caller_is_known() -> None:
    request = RequestFactory().generic("POST", "/operations/door", b"[" * 100_000, content_type="application/json")
    assert Door.as_view()(request).status_code == 401


def test_another_tenant_reads_as_none() -> None:
    foreign = come(f"Bearer {token()}", query="?tenant=globex")
    missing = come(f"Bearer {token()}", query="?tenant=no-such-tenant")
    assert foreign.status_code == missing.status_code == 404
    assert foreign.content == missing.content


def principal(*tenants: str) -> ServicePrincipal:
    return ServicePrincipal(
        issuer="operations",
        subject="m",
        scopes=frozenset(),
        tenants=frozenset(tenants) if tenants else ALL,
        token_id="1",
        expires_at=system_now(),
    )


def test_the_tenant_may_be_left_out_where_only_one_is_possible() -> None:
    assert tenant_or_404(principal("acme")) == "acme"
    assert tenant_or_404(principal("acme", "globex"), "globex") == "globex"
    assert tenant_or_404(principal(), "anyone") == "anyone"
    for several in (principal("acme", "globex"), principal()):
        with pytest.raises(problems.BadRequest) as caught:
            tenant_or_404(several)
        assert caught.value.code == "tenant_required"


@pytest.mark.urls(__name__)
def test_a_system_check_names_what_declares_no_scope() -> None:
    found = {(message.id, message.msg) for message in checks.check_scopes(None)}
    assert found == {
        ("tenancy.E001", "Door serves DELETE and declares no scope for it"),
        ("tenancy.E001", "Undeclared serves GET and declares no scope for it"),
        ("tenancy.E002", "Misspelt: GET needs 'jobs:reed', which is no scope"),
    }


def test_a_system_check_names_what_is_wrong_with_the_trusted_issuers(settings: Settings, tmp_path: Path) -> None:
    assert checks.check_trusted_issuers(None) == []
    settings.ENVIRONMENT = dataclasses.replace(settings.ENVIRONMENT, trusted_issuers=tmp_path / "none.json")
    (message,) = checks.check_trusted_issuers(None)
    assert message.id == "tenancy.E003"
    assert "none.json" in message.msg
