"""Parts of a page that renew themselves: asked for again every few seconds, and sent only where they changed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from apps.console.visits import is_fragment

MARK = "seen"


def part(
    request: HttpRequest,
    *,
    name: str,
    template: str,
    context: Mapping[str, Any],
    address: str,
    query: Mapping[str, str] | None = None,
    renews: bool = True,
) -> dict[str, Any]:
    """Return a part as `console/part.html` includes it: its body, and where it is asked for again.

    `renews` is whether it ever will be: a job that is over, or a page further down the history, stays as it is.
    """
    body = render_to_string(template, dict(context), request=request)
    mark = hashlib.sha256(body.encode()).hexdigest()[:16]
    again = f"{address}?{urlencode({**(query or {}), MARK: mark})}" if renews else None
    return {"name": name, "body": body, "mark": mark, "again": again}


def answered(request: HttpRequest, made: Mapping[str, Any]) -> HttpResponse:
    """Answer with a part alone; without a body where the page already shows it as it is."""
    if made["again"] and request.GET.get(MARK) == made["mark"]:
        return HttpResponse(status=HTTPStatus.NO_CONTENT)
    return HttpResponse(render_to_string("console/part.html", {"part": made}, request=request))


def is_renewal(request: HttpRequest) -> bool:
    """Return whether a part asks for itself, rather than a person for another view of it."""
    return is_fragment(request) and MARK in request.GET
