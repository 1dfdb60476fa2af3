"""No address is open but by decision: of the API each asks for a token, and each method for a scope that exists; of
people's pages each asks who is there."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from django.urls import URLPattern, URLResolver, get_resolver
from django.views.generic import RedirectView
from rest_framework.views import APIView

from apps.tenancy.checks import check_scopes, check_trusted_issuers
from apps.tenancy.permissions import HasScope, declared_scopes
from apps.tenancy.principals import SCOPES

# What answers without a token, by decision: the API's description, which names nobody's data, and a callback, whose
# address is itself the proof that the plane gave it to a module.
OPEN = {"operations/schema", "operations/docs", "operations/callbacks/<str:token>"}
# What neither is an API's nor asks who is there, by decision: what machines probe and fetch, where one signs in and
# out, and three addresses that only lead on. The admin has its own door, on every page of its site.
FOR_ALL = {"livez", "readyz", "metrics", ".well-known/jwks.json", "console/sign-in", "console/sign-out"}
FOR_ALL |= {f".well-known/authzen-configuration/operations/authzen/{each}" for each in ("governance", "subscription")}
LEADING_ON = {"", "admin", "console"}
METHODS = ("get", "post", "put", "patch", "delete")


def api(patterns: Sequence[URLPattern | URLResolver], before: str = "") -> Iterator[tuple[str, type[APIView]]]:
    """Yield (route, view) of every DRF view."""
    for pattern in patterns:
        route = f"{before}{pattern.pattern}"
        if isinstance(pattern, URLResolver):
            yield from api(pattern.url_patterns, route)
        elif isinstance(view := getattr(pattern.callback, "cls", None), type) and issubclass(view, APIView):
            yield route, view


def others(patterns: Sequence[URLPattern | URLResolver], before: str = "") -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield (route, view) of everything else but the admin."""
    for pattern in patterns:
        route = f"{before}{pattern.pattern}"
        if isinstance(pattern, URLPattern):
            view: Any = pattern.callback
            kind = getattr(view, "cls", None)
            if not (isinstance(kind, type) and issubclass(kind, APIView)):
                yield route, view
        elif pattern.app_name != "admin":
            yield from others(pattern.url_patterns, route)


ROUTES = dict(api(get_resolver().url_patterns))
PAGES = dict(others(get_resolver().url_patterns))


def test_there_is_an_api() -> None:
    assert "operations/jobs" in ROUTES


def test_what_is_open_is_open_by_decision() -> None:
    assert {route for route, view in ROUTES.items() if HasScope not in view.permission_classes} == OPEN


@pytest.mark.parametrize("route", sorted(set(ROUTES) - OPEN))
def test_every_method_needs_a_scope_that_exists(route: str) -> None:
    view = ROUTES[route]
    served = {method.upper() for method in METHODS if hasattr(view, method)}
    assert served == set(declared_scopes(view))
    assert set(declared_scopes(view).values()) <= set(SCOPES)


def test_the_system_checks_agree() -> None:
    assert check_scopes(None) == []
    assert check_trusted_issuers(None) == []


def test_there_are_pages() -> None:
    assert {"console/", "console/<slug:tenant_id>/"} < set(PAGES)


def test_every_page_asks_who_is_there_but_those_that_are_for_all() -> None:
    assert {route for route, view in PAGES.items() if not getattr(view, "asks_who", False)} == FOR_ALL | LEADING_ON


def test_what_leads_on_does_nothing_else() -> None:
    assert {getattr(PAGES[route], "view_class", None) for route in LEADING_ON} == {RedirectView}
