"""Saying something over HTTP: an event or alert in PagerDuty's words, or what Alertmanager sends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

from django.http import HttpResponse
from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema
from rest_framework import status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import problems
from apps.core.asked import bad_field
from apps.notifications import alertmanager, fields
from apps.notifications.alertmanager import Alert
from apps.notifications.models import Notification
from apps.notifications.operations import BadNotificationError, notify
from apps.tenancy import idempotency
from apps.tenancy.authentication import principal_of
from apps.tenancy.context import in_tenant, operator_reading
from apps.tenancy.permissions import tenant_or_404
from apps.tenancy.principals import AllTenants, ServicePrincipal
from apps.tenancy.queries import region_of, tenant_ids

TAGS = ["notifications"]


class Notify(APIView):
    """What is said."""

    required_scopes: ClassVar[dict[str, str]] = {"POST": "notify:send"}

    @extend_schema(
        operation_id="notify",
        parameters=[idempotency.PARAMETER],
        request=fields.NotifyFields,
        responses={
            202: PolymorphicProxySerializer(
                component_name="Notified",
                serializers=[fields.NotifiedFields, fields.AlertsTakenFields],
                resource_type_field_name=None,
            )
        },
        tags=TAGS,
        description="Say that something begins, that somebody has it, or that it is over, in PagerDuty's words. What "
        "is said under one `dedup_key` while it is open is one notification. A platform token that names no tenant "
        "says it of the platform itself. Alertmanager's webhook (version 4) is taken as it is: its answer tells the "
        "notifications in the order of the alerts; a token of one tenant tells of that tenant, others by the alerts' "
        "label `tenant_id` or `tenant`. 404 `nothing_open`: there never was anything under the key.",
    )
    def post(self, request: Request) -> HttpResponse:
        """Notify."""
        principal = principal_of(request)
        if alertmanager.sent_by_alertmanager(request.data):
            return _alerts(request, principal=principal)
        asked = fields.NotifyFields(data=request.data)
        right = asked.is_valid()
        # Whose it is comes before what is wrong with it: of another's nothing is said, nor of what is missing.
        tenant_id = _tenant(principal, _named(request.data)) if "tenant_id" not in asked.errors else None
        if not right:
            raise ValidationError(asked.errors)
        values = dict(asked.validated_data)
        values.pop("tenant_id", None)

        def act() -> Response:
            if tenant_id is not None and region_of(tenant_id) is None:
                raise problems.NotFound
            return Response(_shown(_said(values, tenant_id=tenant_id, by=principal.subject)), status=202)

        if tenant_id is not None:
            return idempotency.answer_once(request, tenant_id=tenant_id, act=act)
        idempotency.refuse_key(request, reason="a key belongs to one tenant, and this is the platform's; use dedup_key")
        with operator_reading():
            return act()


def _named(body: Any) -> str | None:
    """Return the tenant that a body names."""
    named = body.get("tenant_id") if isinstance(body, Mapping) else None
    return None if named is None else str(named)


def _tenant(principal: ServicePrincipal, tenant_id: str | None) -> str | None:
    """Return whose it is: None, the platform's own, where a platform token names no tenant."""
    if tenant_id is None and isinstance(principal.tenants, AllTenants):
        return None
    return tenant_or_404(principal, tenant_id)


def _said(values: dict[str, Any], *, tenant_id: str | None, by: str) -> Notification:
    try:
        notification_id = notify(
            tenant_id=tenant_id,
            action=values["event_action"],
            severity=values["severity"],
            category=values["category"],
            classification=values["classification"],
            source=values.get("source") or by,
            component=values["component"],
            group=values["group"],
            kind=values["class"],
            summary=values.get("summary", ""),
            dedup_key=values.get("dedup_key"),
            details=values["custom_details"],
            links=_links(values["links"]),
            audience=values.get("audience", ()),
            by=by,
            scope=by,
        )
    except BadNotificationError as error:
        name = {"details": "custom_details"}.get(error.field, error.field)
        raise bad_field(name, error.message) from error
    if notification_id is None:
        raise problems.NotFound("There never was a notification under this dedup_key.", code="nothing_open")
    return Notification.objects.get(pk=notification_id)


def _links(given: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return links by their texts; of two of one text the second is told from the first."""
    links: dict[str, str] = {}
    for each in given:
        text = each["text"]
        links[text if text not in links else f"{text} ({len(links) + 1})"] = each["href"]
    return links


def _alerts(request: Request, *, principal: ServicePrincipal) -> HttpResponse:
    """Take Alertmanager's alerts. It repeats what was not taken, so each is taken by its fingerprint."""
    idempotency.refuse_key(request, reason="Alertmanager's alerts are known by their fingerprints")
    try:
        alerts = alertmanager.parsed(cast("Mapping[str, Any]", request.data))
    except alertmanager.BadPayloadError as error:
        raise bad_field(error.field, error.message) from error
    by_tenant: dict[str | None, list[int]] = {}
    for place, tenant_id in enumerate(_tenants_of(alerts, principal=principal)):
        by_tenant.setdefault(tenant_id, []).append(place)
    told: list[dict[str, Any] | None] = [None] * len(alerts)
    for tenant_id, places in by_tenant.items():
        with operator_reading() if tenant_id is None else in_tenant(tenant_id):
            for place in places:
                told[place] = _taken(alerts[place], tenant_id=tenant_id, by=principal.subject)
    return Response({"notifications": told}, status=status.HTTP_202_ACCEPTED)


def _tenants_of(alerts: Sequence[Alert], *, principal: ServicePrincipal) -> list[str | None]:
    """Return whose each alert is. No alert is lost for a label: one of no tenant that there is, is the platform's."""
    if principal.only_tenant is not None:
        return [principal.only_tenant] * len(alerts)
    if isinstance(principal.tenants, AllTenants):
        with operator_reading():
            known = tenant_ids()
        return [each.tenant_id if each.tenant_id in known else None for each in alerts]
    return [tenant_or_404(principal, each.tenant_id) for each in alerts]


def _taken(alert: Alert, *, tenant_id: str | None, by: str) -> dict[str, Any] | None:
    values = alert._asdict()
    values.pop("tenant_id")
    notification_id = notify(**values, category="alert", tenant_id=tenant_id, by=by, scope=f"alertmanager:{by}"[:128])
    return None if notification_id is None else _shown(Notification.objects.get(pk=notification_id))


def _shown(row: Notification) -> dict[str, Any]:
    return {
        "notification_id": str(row.id),
        "dedup_key": row.dedup_key,
        "status": row.status,
        "resolved": row.resolved,
    }
