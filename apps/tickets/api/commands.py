"""What is asked about one ticket over HTTP: a row a command. All but a comment name the version that was read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.request import Request
from rest_framework.views import APIView

from apps.core.serializers import StrictSerializer
from apps.tickets import fields
from apps.tickets.api.shared import ACTING, TAGS, acted
from apps.tickets.operations import commands, merging

STALE = " 409 `changed_meanwhile` for another version than there is, with `version`; `illegal_move` where its state"
STALE += " forbids it, with `ticket_status`."


class Command(APIView):
    """Something that is asked about a ticket: `body` is what it takes, `do` the operation."""

    required_scopes: ClassVar[dict[str, str]] = {"POST": "tickets:write"}
    body: ClassVar[type[StrictSerializer]]
    do: ClassVar[Callable[..., Any]]

    def post(self, request: Request, ticket_id: str) -> HttpResponse:
        """Do it, and answer with the ticket."""
        asked = type(self).body(data=request.data)

        def act(wanted: Any, by: str) -> Any:
            asked.is_valid(raise_exception=True)
            return type(self).do(wanted, **asked.validated_data, by=by)

        return acted(request, ticket_id, act=act)


def _command(verb: str, *, body: type[StrictSerializer], do: Callable[..., Any], says: str) -> type[Command]:
    schema = extend_schema(
        operation_id=f"tickets_{verb}",
        parameters=ACTING,
        request=body,
        responses=fields.TicketFields,
        tags=TAGS,
        description=says,
    )
    made: type[Command] = type(verb.title(), (Command,), {"__doc__": says, "body": body, "do": staticmethod(do)})
    decorate: Callable[[type[Command]], type[Command]] = extend_schema_view(post=schema)
    return decorate(made)


def _comment(wanted: Any, *, version: int | None = None, **said: Any) -> Any:
    return commands.comment(wanted, version=version, **said)


def _merge(wanted: Any, *, into: Any, **said: Any) -> Any:
    return merging.unmerge(wanted, **said) if into is None else merging.merge(wanted, into=into, **said)


Acknowledge = _command(
    "acknowledge",
    body=fields.VersionFields,
    do=commands.acknowledge,
    says="Say that somebody has seen it. It is open again after a while, unless work begins." + STALE,
)
Assign = _command(
    "assign",
    body=fields.AssignFields,
    do=commands.assign,
    says="Give it to a person, a team, or both; with neither, to nobody. Who gets it is told." + STALE,
)
Start = _command(
    "start",
    body=fields.VersionFields,
    do=commands.start,
    says="Say that somebody works on it, also after it waited." + STALE,
)
Wait = _command(
    "wait",
    body=fields.WaitFields,
    do=commands.wait,
    says="Say that it waits for somebody else: its resolution clock stands still." + STALE,
)
Comment = _command(
    "comment",
    body=fields.CommentFields,
    do=_comment,
    says="Say something about it, in any state. It makes no other version of the ticket, and need not name one; if it"
    " does, 409 `changed_meanwhile` for another than there is.",
)
Resolve = _command(
    "resolve",
    body=fields.ResolveFields,
    do=commands.resolve,
    says="Say that the cause is gone. The resolution and the whole log are hashed into evidence; alerts about it are"
    " resolved." + STALE,
)
Close = _command(
    "close",
    body=fields.VersionFields,
    do=commands.close,
    says="End a ticket that is resolved; after three days without news it ends by itself." + STALE,
)
Reopen = _command(
    "reopen",
    body=fields.ReopenFields,
    do=commands.reopen,
    says="Open it again, within seven days of its resolution: its clocks begin anew. 409 `reopen_window_over`;"
    " `already_open`, with `ticket_id`, where another is open about the same failure." + STALE,
)
Merge = _command(
    "merge",
    body=fields.MergeFields,
    do=_merge,
    says="Close it and point it to another, which counts what repeats from now on. With `into` null it is taken out"
    " again and stands where it stood; 409 `already_open` where its failure has another open ticket." + STALE,
)
