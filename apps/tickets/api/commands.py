"""What is asked about one ticket over HTTP. Every command but a comment names the version that was read."""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.views import APIView

from apps.core.serializers import StrictSerializer
from apps.tickets import fields
from apps.tickets.api.shared import ACTING, TAGS, acted
from apps.tickets.operations import commands, merging

STALE = " 409 `changed_meanwhile` for another version than there is, with `version`; `illegal_move` where its state"
STALE += " forbids it, with `ticket_status`."


class Command(APIView):
    """Something that is asked about a ticket."""

    required_scopes: ClassVar[dict[str, str]] = {"POST": "tickets:write"}


def _asked(request: Request, fields_: type[StrictSerializer]) -> dict[str, Any]:
    asked = fields_(data=request.data)
    asked.is_valid(raise_exception=True)
    return dict(asked.validated_data)


class Acknowledge(Command):
    """Take it on."""

    @extend_schema(
        operation_id="tickets_acknowledge",
        parameters=ACTING,
        request=fields.VersionFields,
        responses=fields.TicketFields,
        tags=TAGS,
        description="Say that somebody has seen it. It is open again after a while, unless work begins." + STALE,
    )
    def post(self, request: Request, ticket_id: str) -> HttpResponse:
        """Acknowledge."""
        return acted(
            request,
            ticket_id,
            act=lambda wanted, by: commands.acknowledge(wanted, **_asked(request, fields.VersionFields), by=by),
        )


class Assign(Command):
    """Give it to somebody."""

    @extend_schema(
        operation_id="tickets_assign",
        parameters=ACTING,
        request=fields.AssignFields,
        responses=fields.TicketFields,
        tags=TAGS,
        description="Give it to a person, a team, or both; with neither, to nobody. Who gets it is told." + STALE,
    )
    def post(self, request: Request, ticket_id: str) -> HttpResponse:
        """Assign."""
        return acted(
            request,
            ticket_id,
            act=lambda wanted, by: commands.assign(wanted, **_asked(request, fields.AssignFields), by=by),
        )


class Start(Command):
    """Begin."""

    @extend_schema(
        operation_id="tickets_start",
        parameters=ACTING,
        request=fields.VersionFields,
        responses=fields.TicketFields,
        tags=TAGS,
        description="Say that somebody works on it, also after it waited." + STALE,
    )
    def post(self, request: Request, ticket_id: str) -> HttpResponse:
        """Start."""
        return acted(
            request,
            ticket_id,
            act=lambda wanted, by: commands.start(wanted, **_asked(request, fields.VersionFields), by=by),
        )


class Wait(Command):
    """Wait."""

    @extend_schema(
        operation_id="tickets_wait",
        parameters=ACTING,
        request=fields.WaitFields,
        responses=fields.TicketFields,
        tags=TAGS,
        description="Say that it waits for somebody else: its resolution clock stands still." + STALE,
    )
    def post(self, request: Request, ticket_id: str) -> HttpResponse:
        """Wait."""
        return acted(
            request,
            ticket_id,
            act=lambda wanted, by: commands.wait(wanted, **_asked(request, fields.WaitFields), by=by),
        )


class Comment(Command):
    """Say something."""

    @extend_schema(
        operation_id="tickets_comment",
        parameters=ACTING,
        request=fields.CommentFields,
        responses=fields.TicketFields,
        tags=TAGS,
        description="Say something about it, in any state. It makes no other version of the ticket, and need not name "
        "one; if it does, 409 `changed_meanwhile` for another than there is.",
    )
    def post(self, request: Request, ticket_id: str) -> HttpResponse:
        """Comment."""
        return acted(
            request,
            ticket_id,
            act=lambda wanted, by: commands.comment(
                wanted, **{"version": None, **_asked(request, fields.CommentFields)}, by=by
            ),
        )


class Resolve(Command):
    """Say that it is over."""

    @extend_schema(
        operation_id="tickets_resolve",
        parameters=ACTING,
        request=fields.ResolveFields,
        responses=fields.TicketFields,
        tags=TAGS,
        description="Say that the cause is gone. The resolution and the whole log are hashed into evidence; alerts "
        "about it are resolved." + STALE,
    )
    def post(self, request: Request, ticket_id: str) -> HttpResponse:
        """Resolve."""
        return acted(
            request,
            ticket_id,
            act=lambda wanted, by: commands.resolve(wanted, **_asked(request, fields.ResolveFields), by=by),
        )


class Close(Command):
    """End it."""

    @extend_schema(
        operation_id="tickets_close",
        parameters=ACTING,
        request=fields.VersionFields,
        responses=fields.TicketFields,
        tags=TAGS,
        description="End a ticket that is resolved; after three days without news it ends by itself." + STALE,
    )
    def post(self, request: Request, ticket_id: str) -> HttpResponse:
        """Close."""
        return acted(
            request,
            ticket_id,
            act=lambda wanted, by: commands.close(wanted, **_asked(request, fields.VersionFields), by=by),
        )


class Reopen(Command):
    """It was not over."""

    @extend_schema(
        operation_id="tickets_reopen",
        parameters=ACTING,
        request=fields.ReopenFields,
        responses=fields.TicketFields,
        tags=TAGS,
        description="Open it again, within seven days of its resolution: its clocks begin anew. 409 "
        "`reopen_window_over`; `already_open`, with `ticket_id`, where another is open about the same failure." + STALE,
    )
    def post(self, request: Request, ticket_id: str) -> HttpResponse:
        """Reopen."""
        return acted(
            request,
            ticket_id,
            act=lambda wanted, by: commands.reopen(wanted, **_asked(request, fields.ReopenFields), by=by),
        )


class Merge(Command):
    """Let another ticket speak for it."""

    @extend_schema(
        operation_id="tickets_merge",
        parameters=ACTING,
        request=fields.MergeFields,
        responses=fields.TicketFields,
        tags=TAGS,
        description="Close it and point it to another, which counts what repeats from now on. With `into` null it is "
        "taken out again and stands where it stood; 409 `already_open` where its failure has another open ticket."
        + STALE,
    )
    def post(self, request: Request, ticket_id: str) -> HttpResponse:
        """Merge, or take it back."""

        def act(wanted: Any, by: str) -> Any:
            asked = _asked(request, fields.MergeFields)
            if asked["into"] is None:
                return merging.unmerge(wanted, version=asked["version"], by=by)
            return merging.merge(wanted, version=asked["version"], into=asked["into"], by=by)

        return acted(request, ticket_id, act=act)
