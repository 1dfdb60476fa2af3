"""System checks of the door: every address behind `HasScope` declares a known scope for every method it serves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.views import APIView

from apps.tenancy import issuers
from apps.tenancy.permissions import HasScope, declared_scopes
from apps.tenancy.principals import SCOPES

_SERVED = ("get", "post", "put", "patch", "delete")


@register(Tags.security)
def check_scopes(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:  # noqa: ARG001 - Django's
    """Name each view and method that a caller could reach without a scope, or whose scope does not exist."""
    return [complaint for view in set(_views(get_resolver().url_patterns)) for complaint in _complaints(view)]


@register(Tags.security)
def check_trusted_issuers(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:  # noqa: ARG001
    """Name what is wrong in the file of trusted issuers before a token meets it."""
    if settings.ENVIRONMENT.trusted_issuers is None:
        return []
    try:
        issuers.read(settings.ENVIRONMENT.trusted_issuers)
    except issuers.BadTrustedIssuersError as error:
        return [Error(str(error), id="tenancy.E003")]
    return []


def _views(patterns: Sequence[URLPattern | URLResolver]) -> Iterator[type[APIView]]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from _views(pattern.url_patterns)
        else:
            view = getattr(pattern.callback, "cls", None)
            if isinstance(view, type) and issubclass(view, APIView) and HasScope in view.permission_classes:
                yield view


def _complaints(view: type[APIView]) -> Iterator[CheckMessage]:
    scopes = declared_scopes(view)
    for method in (name.upper() for name in _SERVED if hasattr(view, name)):
        if method not in scopes:
            yield Error(f"{view.__qualname__} serves {method} and declares no scope for it", id="tenancy.E001")
        elif scopes[method] not in SCOPES:
            yield Error(f"{view.__qualname__}: {method} needs {scopes[method]!r}, which is no scope", id="tenancy.E002")
