"""Webhooks over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.conf import settings
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import outbound, problems
from apps.core.asked import bad_field
from apps.core.grants import BadGrantError, grant
from apps.tenancy import idempotency
from apps.tenancy.authentication import principal_of
from apps.tenancy.rows import ACTING, IN_TENANT, PAGED, acted, changes_asked, found, listed, made, of_one_version
from apps.webhooks import fields, filters
from apps.webhooks.api.shared import TAGS, disabled, shown, telling_secret
from apps.webhooks.models import Webhook
from apps.webhooks.operations import webhooks


class Webhooks(APIView):
    """The webhooks."""

    required_scopes: ClassVar[dict[str, str]] = {"GET": "events:read", "POST": "webhooks:write"}

    @extend_schema(
        operation_id="webhooks_create",
        parameters=[idempotency.PARAMETER],
        request=fields.WebhookAskedFields,
        responses={201: fields.WebhookWithSecretFields},
        tags=TAGS,
        description="Have events of a tenant told to an address, from now on, signed as Standard Webhooks asks. The "
        f"secret is in this answer and in no other. At most {webhooks.MOST_OF_A_TENANT} a tenant: 409 "
        "`too_many_webhooks`.",
    )
    def post(self, request: Request) -> HttpResponse:
        """Make a webhook."""
        answer = made(request, fields=fields.WebhookAskedFields, check=_check, make=_make, render=shown)
        return telling_secret(answer)

    @extend_schema(
        operation_id="webhooks_list",
        parameters=PAGED,
        responses=fields.WebhookPageFields,
        tags=TAGS,
        description="The webhooks, newest first.",
    )
    def get(self, request: Request) -> Response:
        """List webhooks."""
        return listed(request, model=Webhook, render=shown)


class OneWebhook(APIView):
    """One webhook."""

    required_scopes: ClassVar[dict[str, str]] = {
        "GET": "events:read",
        "PATCH": "webhooks:write",
        "DELETE": "webhooks:write",
    }

    @extend_schema(
        operation_id="webhooks_read",
        parameters=[IN_TENANT],
        responses=fields.WebhookFields,
        tags=TAGS,
        description="One webhook: whether it is told, and if not, since when and why.",
    )
    def get(self, request: Request, webhook_id: str) -> Response:
        """Read a webhook."""
        with found(request, webhook_id, model=Webhook) as row:
            return Response(shown(row))

    @extend_schema(
        operation_id="webhooks_change",
        parameters=[IN_TENANT],
        request=fields.WebhookPatchFields,
        responses=fields.WebhookFields,
        tags=TAGS,
        description="Change a webhook, or switch it off and on by `enabled`. What happens while it is off is kept as "
        "`held` and can be redelivered. 409 `changed_meanwhile`.",
    )
    def patch(self, request: Request, webhook_id: str) -> HttpResponse:
        """Change a webhook."""
        owner = principal_of(request).subject

        def act(row: Webhook) -> None:
            values, version = changes_asked(request, fields.WebhookPatchFields)
            _check({"url": row.url, "event_types": row.event_types, **values}, tenant_id=row.tenant_id)
            with of_one_version():
                webhooks.change(values, webhook_id=row.webhook_id, version=version, owner=owner)

        return acted(request, webhook_id, model=Webhook, render=shown, act=act)

    @extend_schema(
        operation_id="webhooks_delete",
        parameters=[IN_TENANT],
        responses={204: None},
        tags=TAGS,
        description="Take a webhook away. What was not delivered to it yet is not sent any more.",
    )
    def delete(self, request: Request, webhook_id: str) -> HttpResponse:
        """Take a webhook away."""
        acted(
            request, webhook_id, model=Webhook, render=shown, act=lambda row: webhooks.delete(webhook_id=row.webhook_id)
        )
        return HttpResponse(status=status.HTTP_204_NO_CONTENT)


class RotateSecret(APIView):
    """Another secret."""

    required_scopes: ClassVar[dict[str, str]] = {"POST": "webhooks:write"}

    @extend_schema(
        operation_id="webhooks_rotate_secret",
        parameters=ACTING,
        request=fields.RotateFields,
        responses=fields.WebhookWithSecretFields,
        tags=TAGS,
        description="Let a new secret sign. For `overlap_s` (a day, if left out; 0 where the old one is known to "
        "others) each delivery carries both signatures, so that the receiver can change at any moment between.",
    )
    def post(self, request: Request, webhook_id: str) -> HttpResponse:
        """Rotate the secret."""

        def act(row: Webhook) -> None:
            asked = fields.RotateFields(data=request.data)
            asked.is_valid(raise_exception=True)
            webhooks.rotate_secret(webhook_id=row.webhook_id, overlap_s=asked.validated_data["overlap_s"])

        return telling_secret(acted(request, webhook_id, model=Webhook, render=shown, act=act))


class SendTest(APIView):
    """Try it."""

    required_scopes: ClassVar[dict[str, str]] = {"POST": "webhooks:write"}

    @extend_schema(
        operation_id="webhooks_test",
        parameters=ACTING,
        request=None,
        responses={202: fields.TestSentFields},
        tags=TAGS,
        description="Write an event `operations.webhook.test`, which goes to this webhook alone, whatever it asks for, "
        "by the way of all events. What came of it stands among the deliveries. 409 `webhook_disabled`.",
    )
    def post(self, request: Request, webhook_id: str) -> HttpResponse:
        """Send a test."""
        by = principal_of(request).subject

        def act(row: Webhook) -> Response:
            try:
                event_id = webhooks.send_test(webhook_id=row.webhook_id, by=by)
            except webhooks.WebhookDisabledError as error:
                raise disabled() from error
            return Response({"event_id": str(event_id)}, status=status.HTTP_202_ACCEPTED)

        return acted(request, webhook_id, model=Webhook, render=shown, act=act)


def _make(values: Mapping[str, Any], *, tenant_id: str, owner: str) -> Webhook:
    try:
        return webhooks.create(**values, tenant_id=tenant_id, owner=owner)
    except webhooks.TooManyWebhooksError as error:
        said = f"The tenant has {webhooks.MOST_OF_A_TENANT} webhooks: take one away first."
        raise problems.Conflict(said, code="too_many_webhooks") from error


def _check(values: Mapping[str, Any], *, tenant_id: str) -> None:
    """Raise the problem that names what cannot be a webhook.

    A host that is written as an address is judged here already; a name when it is called, each time anew.
    """
    try:
        place = outbound.target(values["url"])
    except outbound.BadUrlError as error:
        raise bad_field("url", str(error)) from error
    if not place.secure and not settings.ENVIRONMENT.local:
        raise bad_field("url", "an https address would be right")
    if outbound.literal(place.host) and not outbound.public(place.host, networks=_networks(tenant_id)):
        raise bad_field("url", "the address of a public host would be right")
    bad = [each for each in values["event_types"] if not filters.well_formed(each)]
    if bad:
        raise bad_field("event_types", f"'{bad[0]}': a type, or a beginning like operations.job.*, would be right")


def _networks(tenant_id: str) -> tuple[outbound.Network, ...]:
    try:
        return grant(tenant_id=tenant_id).networks
    except BadGrantError:
        return ()
