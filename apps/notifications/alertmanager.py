"""Prometheus Alertmanager's webhook, version 4, as it is: each of its alerts becomes what we call a signal. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import orjson

VERSION: Final = "4"
MOST_ALERTS: Final = 1000
SOURCE: Final = "alertmanager"
LONGEST: Final = 200
MOST_LABELS: Final = 40
MOST_BYTES: Final = 8000  # of labels as JSON: beneath what a notification's details may be
SEVERITIES: Final = {
    "critical": "critical", "page": "critical", "emergency": "critical", "error": "error", "high": "error",
    "major": "error", "warning": "warning", "warn": "warning", "minor": "warning", "info": "info", "low": "info",
    "none": "info",
}  # fmt: skip


class BadPayloadError(ValueError):
    """The body is not what Alertmanager sends; `field` says where."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class Alert(NamedTuple):
    """One alert, in our words."""

    action: str
    severity: str
    summary: str
    source: str
    component: str | None
    group: str | None
    kind: str | None
    dedup_key: str
    details: dict[str, str]
    links: dict[str, str]
    tenant_id: str | None


def sent_by_alertmanager(body: Any) -> bool:
    """Say whether a body is Alertmanager's: it has a list of alerts and a group's key, which nothing of ours has."""
    return isinstance(body, Mapping) and "alerts" in body and "groupKey" in body


def parsed(body: Mapping[str, Any]) -> list[Alert]:
    """Return the alerts of a body; raises `BadPayloadError`."""
    if body.get("version") != VERSION:
        raise BadPayloadError("version", f"{VERSION} would be right")
    alerts = body.get("alerts")
    if not isinstance(alerts, list) or not 0 < len(alerts) <= MOST_ALERTS:
        raise BadPayloadError("alerts", f"1 to {MOST_ALERTS} alerts would be right")
    return [_alert(each, where=f"alerts[{place}]", group=body.get("groupKey")) for place, each in enumerate(alerts)]


def _alert(alert: Any, *, where: str, group: Any) -> Alert:
    if not isinstance(alert, Mapping):
        raise BadPayloadError(where, "an object would be right")
    labels, annotations = _texts(alert, "labels", where=where), _texts(alert, "annotations", where=where)
    status = alert.get("status")
    if status not in ("firing", "resolved"):  # whatever it is: a list has no hash
        raise BadPayloadError(f"{where}.status", "firing or resolved would be right")
    name = labels.get("alertname", "alert")
    key = str(alert.get("fingerprint") or "") or ",".join(f"{k}={v}" for k, v in sorted(labels.items()))
    return Alert(
        action="trigger" if status == "firing" else "resolve",
        severity=SEVERITIES.get(labels.get("severity", "").lower(), "error"),
        summary=(annotations.get("summary") or annotations.get("description") or name)[:300],
        source=(labels.get("job") or labels.get("service") or SOURCE)[:128],
        component=(labels.get("component") or labels.get("instance") or "")[:128] or None,
        group=str(group)[:128] if group else None,
        kind=name[:128],
        dedup_key=key[:255],
        details=_details(labels),
        links=_links(alert, annotations),
        tenant_id=labels.get("tenant_id") or labels.get("tenant") or None,
    )


def _texts(alert: Mapping[str, Any], name: str, *, where: str) -> dict[str, str]:
    found = alert.get(name, {})
    if not isinstance(found, Mapping) or not all(isinstance(value, str) for value in found.values()):
        raise BadPayloadError(f"{where}.{name}", "texts by name would be right")
    return dict(found)


def _details(labels: Mapping[str, str]) -> dict[str, str]:
    """Return as many labels as may be kept of an alert: it is not lost for having more, or longer ones."""
    found: dict[str, str] = {}
    left = MOST_BYTES
    for name, value in list(labels.items())[:MOST_LABELS]:
        kept = {f"label.{name}"[:64]: value[:LONGEST]}
        size = len(orjson.dumps(kept))
        if size <= left:
            found |= kept
            left -= size
    return found


def _links(alert: Mapping[str, Any], annotations: Mapping[str, str]) -> dict[str, str]:
    named = {
        "source": alert.get("generatorURL"),
        "runbook": annotations.get("runbook_url"),
        "dashboard": annotations.get("dashboard_url"),
    }
    return {
        title: url[:1000]
        for title, url in named.items()
        if isinstance(url, str) and url.startswith(("http://", "https://"))
    }
