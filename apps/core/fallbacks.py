"""Django's last words (`handler400` to `handler500`): what fails before or outside a DRF view, in the API's own form.

A person's browser gets a page, every other caller a problem document. Nothing here needs a database or a template.
"""

from __future__ import annotations

import sys
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse
from django.views import defaults

from apps.core import problems


def is_page(request: HttpRequest) -> bool:
    """Return whether a person's browser asks for a page; every other caller reads a problem document."""
    return not request.path.startswith("/operations") and "text/html" in request.headers.get("Accept", "")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer what Django refused before any view: `handler400`."""
    if is_page(request):
        return defaults.bad_request(request, exception)
    problem = problems.from_exception(exception)
    return problems.respond(
        problem if problem.status < HTTPStatus.INTERNAL_SERVER_ERROR else problems.BadRequest(), request=request
    )


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a refusal outside DRF: `handler403`."""
    if is_page(request):
        return defaults.permission_denied(request, exception)
    return problems.respond(problems.Forbidden("This is not permitted."), request=request)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer an address that leads nowhere: `handler404`."""
    if is_page(request):
        return defaults.page_not_found(request, exception)
    return problems.respond(problems.NotFound("Nothing is at this address."), request=request)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer what failed outside every view, in a middleware for instance: `handler500`. Django has logged it."""
    problem = problems.from_exception(sys.exc_info()[1] or RuntimeError())
    if not is_page(request):
        return problems.respond(problem, request=request)
    if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
        return unavailable_page(problem)
    return defaults.server_error(request)


def unavailable_page(problem: problems.Problem) -> HttpResponse:
    """Return the plain page that a browser gets while the database is away; it needs neither database nor template."""
    page = (
        "<!doctype html><title>Back in a moment</title><p>The database is away. This page can be reloaded shortly.</p>"
    )
    return HttpResponse(page, status=problem.status, headers=problem.headers)
