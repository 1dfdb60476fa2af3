"""The AsyncAPI 3 document: every event the plane publishes, where it can be heard, and the shape of its data.

Made from what the apps declare in their `events.py` (`MEANINGS`), so that it cannot name what is not published.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from typing import Any

import yaml

import apps

DESCRIPTION = """\
CloudEvents 1.0 in structured JSON. An event is written in the transaction that made it true and numbered after its
commit, so a reader by cursor misses none. Delivered at least once, in order per subject: tell doubles by `id`.
Ids, states, counts and codes only: no data, no secrets."""

ENVELOPE: dict[str, Any] = {
    "type": "object",
    "required": ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data", "sequence"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "format": "uuid", "description": "tells doubles"},
        "source": {"const": "/operations"},
        "type": {"type": "string"},
        "subject": {"type": "string", "description": "the id of what it is about"},
        "time": {"type": "string", "format": "date-time"},
        "datacontenttype": {"const": "application/json"},
        "tenantid": {"type": "string", "description": "whose it is; absent for the platform's own"},
        "sequence": {"type": "string", "pattern": "^[0-9]{20}$", "description": "its place in the log; grows"},
        "data": {"type": "object"},
    },
}


def published() -> dict[str, tuple[str, dict[str, Any]]]:
    """Return event type → (what it says, its data's JSON Schema) of every app."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for app in pkgutil.iter_modules(apps.__path__, "apps."):
        if app.name != "apps.events" and importlib.util.find_spec(f"{app.name}.events"):
            found |= importlib.import_module(f"{app.name}.events").MEANINGS
    return dict(sorted(found.items()))


def schema_of(event_type: str, data: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of one event type, whole."""
    return {**ENVELOPE, "properties": {**ENVELOPE["properties"], "type": {"const": event_type}, "data": data}}


def document() -> dict[str, Any]:
    """Return the document."""
    events = published()
    messages = {
        event_type: {
            "name": event_type,
            "summary": says,
            "contentType": "application/cloudevents+json",
            "payload": {"$ref": f"#/components/schemas/{event_type}"},
        }
        for event_type, (says, _) in events.items()
    }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Platform Operations: events", "version": "0.1.0", "description": DESCRIPTION},
        "servers": {
            "api": {
                "host": "127.0.0.1:8000",
                "protocol": "http",
                "description": "GET /operations/events: pages, or server-sent events; a token with events:read.",
            },
            "stream": {
                "host": "127.0.0.1:6379",
                "protocol": "redis",
                "description": "OPS_EVENTS_URL: all tenants' events, for the platform's own consumers.",
            },
        },
        "channels": {
            "log": _channel(
                "/operations/events", "api", events, "By cursor; one tenant's token hears its tenants' events only."
            ),
            "stream": _channel(
                "operations.events", "stream", events, "A Valkey stream; field `event`; the last 100,000 or so."
            ),
            "webhook": _channel(
                None,
                None,
                events,
                "POST to each subscribed address, signed as Standard Webhooks asks: docs/webhooks.md.",
            ),
        },
        "operations": {
            f"publish-{name}": {"action": "send", "channel": {"$ref": f"#/channels/{name}"}}
            for name in ("log", "stream", "webhook")
        },
        "components": {
            "messages": messages,
            "schemas": {event_type: schema_of(event_type, data) for event_type, (_, data) in events.items()},
        },
    }


def text(*, step: str) -> str:
    """Return the document as YAML, saying that `step` writes it."""
    written = yaml.dump(document(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return f"# Written by `{step}` from apps/*/events.py.\n{written}"


def _channel(address: str | None, server: str | None, events: dict[str, Any], says: str) -> dict[str, Any]:
    return {
        "address": address,
        "description": says,
        **({} if server is None else {"servers": [{"$ref": f"#/servers/{server}"}]}),
        "messages": {event_type: {"$ref": f"#/components/messages/{event_type}"} for event_type in events},
    }


class _Dumper(yaml.SafeDumper):
    """Writes shared parts out each time: anchors are for machines."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the library's signature
        """Never write an alias."""
        return True
