"""Who asks for a page, whose rows it may show, and what every page has in common.

Sessions, people and memberships are the operator role's to read: that is asked first, in a transaction of its own. The
page itself is read in another, of the one tenant in its address, in which PostgreSQL refuses every write.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

from django.db import connection
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse

from apps.tenancy.context import only_reading, operator_reading
from apps.tenancy.queries import OPERATOR, Seat, operators_seats, seats_of

# Everything is of this origin and nothing is inline; what a caller wrote into a job cannot become a script.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)
READING: Final = ("GET", "HEAD")

View = Callable[..., HttpResponse]


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """A signed-in person, and the tenants they may look at: their own, or as an operator any.

    `chooses`: there is more than one, whichever of them the page is about.
    """

    username: str
    is_operator: bool
    seats: tuple[Seat, ...]
    chooses: bool


@dataclass(frozen=True, kw_only=True)
class Visit:
    """A person's look at one tenant."""

    visitor: Visitor
    seat: Seat

    @property
    def tenant_id(self) -> str:
        """Whose rows the page shows."""
        return self.seat.tenant_id

    @property
    def is_operators(self) -> bool:
        """Whether an operator looks, and not one of the tenant's own."""
        return self.seat.role == OPERATOR


def visitor_of(request: HttpRequest, *, tenant_id: str | None = None) -> Visitor | None:
    """Return who asks, with their seat in `tenant_id` or all they have; None for whoever did not sign in."""
    connection.ensure_connection()
    with operator_reading():
        # The session and its person are read here, on first asking: no other role may.
        person = request.user
        if not person.is_authenticated:
            return None
        if person.is_staff and person.has_perm("jobs.view_job"):
            seats = operators_seats(tenant_id=tenant_id)
            return Visitor(username=person.get_username(), is_operator=True, seats=tuple(seats), chooses=True)
        every = seats_of(person.pk)
        mine = tuple(seat for seat in every if tenant_id in {None, seat.tenant_id})
        return Visitor(username=person.get_username(), is_operator=False, seats=mine, chooses=len(every) > 1)


def persons_page(view: View) -> View:
    """Make `view(request, visitor)` a page for whoever is signed in, whatever they may look at."""

    @wraps(view)
    def answer(request: HttpRequest) -> HttpResponse:
        if request.method not in READING:
            return HttpResponseNotAllowed(READING)
        visitor = visitor_of(request)
        return dressed(_sign_in_first(request) if visitor is None else view(request, visitor))

    return _asking_who(answer)


def tenants_page(view: View) -> View:
    """Make `view(request, visit, …)` a page of the tenant in its address: read-only, for people who may look at it.

    To anybody else the tenant does not exist, and whoever did not sign in is asked to.
    """

    @wraps(view)
    def answer(request: HttpRequest, *, tenant_id: str, **rest: Any) -> HttpResponse:
        if request.method not in READING:
            return HttpResponseNotAllowed(READING)
        visitor = visitor_of(request, tenant_id=tenant_id)
        if visitor is None:
            return dressed(_sign_in_first(request))
        if not visitor.seats:
            return dressed(not_there(request, visitor=visitor))
        visit = Visit(visitor=visitor, seat=visitor.seats[0])
        with only_reading(visit.tenant_id, as_operator=visit.is_operators):
            return dressed(view(request, visit, **rest))

    return _asking_who(answer)


def not_there(request: HttpRequest, *, visitor: Visitor, visit: Visit | None = None) -> HttpResponse:
    """Answer 404: there is no such thing, or it is another tenant's; the two read the same."""
    context = {"visitor": visitor, "visit": visit}
    return render(request, "console/not_there.html", context, status=HTTPStatus.NOT_FOUND)


def is_fragment(request: HttpRequest) -> bool:
    """Return whether a page already open asks for a part of itself."""
    return request.headers.get("HX-Request") == "true"


def _sign_in_first(request: HttpRequest) -> HttpResponse:
    """Lead to the form and from there back; a part of a page has its whole page go."""
    if not is_fragment(request):
        back = request.get_full_path()
        return HttpResponseRedirect(f"{reverse('console:sign-in')}?{urlencode({'next': back})}")
    return HttpResponse(status=HTTPStatus.UNAUTHORIZED, headers={"HX-Refresh": "true"})


def dressed(response: HttpResponse) -> HttpResponse:
    """Return the answer with what every page says to the browser: keep nothing, run nothing but our own files."""
    response.headers["Content-Security-Policy"] = POLICY
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def _asking_who(view: View) -> View:
    """Mark a view as one that asks who is there: `tests/architecture` looks for it on every route of people's."""
    view.asks_who = True  # type: ignore[attr-defined]  # a mark on a function
    return view
