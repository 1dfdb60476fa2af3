"""No address of the API is open but by decision: each asks for a token, and each method for a scope that exists."""

from collections.abc import Iterator, Sequence

import pytest
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.views import APIView

from apps.tenancy.checks import check_scopes, check_trusted_issuers
from apps.tenancy.permissions import HasScope, declared_scopes
from apps.tenancy.principals import SCOPES

# What answers without a token, by decision: the API's description, which names nobody's data, and a callback, whose
# address is itself the proof that the plane gave it to a module.
OPEN = {"operations/schema", "operations/docs", "operations/callbacks/<str:token>"}
METHODS = ("get", "post", "put", "patch", "delete")


def api(patterns: Sequence[URLPattern | URLResolver], before: str = "") -> Iterator[tuple[str, type[APIView]]]:
    """Yield (route, view) of every DRF view."""
    for pattern in patterns:
        route = f"{before}{pattern.pattern}"
        if isinstance(pattern, URLResolver):
            yield from api(pattern.url_patterns, route)
        elif isinstance(view := getattr(pattern.callback, "cls", None), type) and issubclass(view, APIView):
            yield route, view


ROUTES = dict(api(get_resolver().url_patterns))


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
