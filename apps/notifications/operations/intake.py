"""What is said about a thing: it begins, somebody has it, it is over. In the caller's transaction.

Nothing is decided here about who is told how, and nothing outside is asked: the caller pays for one statement. The
notifier (`workers/notifier.py`) takes it from the signals, so that whoever raises an alert cannot be held up by its
routes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson

from apps.core.database import UUID7, preparing
from apps.core.ids import uuid7
from apps.events import operations as event_log
from apps.notifications import audience as audiences
from apps.notifications import events
from apps.notifications.lifecycle import Action, Category, Classification, Severity
from apps.notifications.operations.wake import wake_notifier

PROMISE_S = 60.0
LONGEST_SUMMARY = 300
MOST_DETAILS_BYTES = 8 * 1024

RANK = "array_position(ARRAY['info', 'warning', 'error', 'critical'], {}::text)"
WORSE = f"{RANK.format('excluded.severity')} > {RANK.format('n.severity')}"
EVENT = """gen_random_uuid() AS event_id, {type} AS event_type, id::text AS event_subject,
    jsonb_build_object('notification_id', id, 'severity', severity, 'category', category, 'source', source,
                       'component', component, 'by', %(by)s::text) AS event_data"""
SIGNAL = f"""
    INSERT INTO notification_signals (signal_id, tenant_id, notification_id, action, severity, source, dedup_key,
                                      said_by, cause_event_id, said_at)
    SELECT {UUID7.format(place="0")}, tenant_id, id, %(action)s, %(severity)s, %(source)s, dedup_key, %(by)s,
           %(cause)s::uuid, clock_timestamp()
      FROM {{source}}
"""
TRIGGER = f"""
WITH said AS (
    INSERT INTO notifications AS n (id, tenant_id, severity, category, classification, source, component, "group", kind,
        summary, details, links, audience, target, scope, dedup_key, raised_by, timestamp, last_at, repeats,
        escalations, status, resolved, inhibited_by, why)
    VALUES (%(id)s, %(tenant)s, %(severity)s, %(category)s, %(classification)s, %(source)s, %(component)s, %(group)s,
        %(kind)s, %(summary)s, %(details)s::jsonb, %(links)s::jsonb, %(audience)s, %(target)s, %(scope)s, %(key)s,
        %(by)s, clock_timestamp(), clock_timestamp(), 0, 0, 'pending', false, %(inhibited)s, '[]')
    ON CONFLICT (tenant_id, scope, dedup_key) WHERE NOT resolved
    DO UPDATE SET repeats = n.repeats + 1, last_at = clock_timestamp(), summary = excluded.summary,
        details = excluded.details, links = excluded.links, inhibited_by = excluded.inhibited_by,
        escalations = n.escalations + ({WORSE})::int,
        severity = CASE WHEN {WORSE} THEN excluded.severity ELSE n.severity END,
        -- Whoever has it took on something less bad.
        acknowledged_at = CASE WHEN {WORSE} THEN NULL ELSE n.acknowledged_at END,
        acknowledged_by = CASE WHEN {WORSE} THEN NULL ELSE n.acknowledged_by END
    RETURNING id, tenant_id, severity, category, source, component, dedup_key, repeats = 0 AS fresh
), signalled AS ({SIGNAL.format(source="said")}
), promised AS (
    INSERT INTO notification_deadlines (notification_id, tenant_id, due_at)
    SELECT id, tenant_id, clock_timestamp() + {PROMISE_S} * interval '1 s' FROM said WHERE fresh
), told AS (
    SELECT tenant_id, {EVENT.format(type=f"CASE WHEN fresh AND category = 'alert' THEN '{events.RAISED}' END")}
      FROM said
), published AS ({event_log.APPEND.format(source="told")})
SELECT id FROM said
"""
WHOSE = "tenant_id IS NOT DISTINCT FROM %(tenant)s"
SAME = f"{WHOSE} AND scope = %(scope)s AND dedup_key = %(key)s AND NOT resolved"
SETTLED = f"""
), signalled AS ({SIGNAL.format(source="said")}
), told AS (
    SELECT tenant_id, {EVENT.format(type="CASE WHEN category = 'alert' THEN %(event)s END")} FROM said
), published AS ({event_log.APPEND.format(source="told")})
SELECT id FROM said
"""
ACKNOWLEDGE = f"""
WITH said AS (
    UPDATE notifications SET acknowledged_at = clock_timestamp(), acknowledged_by = %(by)s
     WHERE {SAME} AND acknowledged_at IS NULL
    RETURNING id, tenant_id, severity, category, source, component, dedup_key
{SETTLED}"""
RESOLVE = f"""
WITH said AS (
    UPDATE notifications SET resolved = true, resolved_at = clock_timestamp(), resolved_by = %(by)s WHERE {SAME}
    RETURNING id, tenant_id, severity, category, source, component, dedup_key
{SETTLED}"""
SAID_BEFORE = """
SELECT notification_id FROM notification_signals
 WHERE cause_event_id = %(cause)s AND source = %(source)s AND action = %(action)s
   AND (%(given)s::text IS NULL OR dedup_key = %(given)s)
"""
NEWEST = f"""
SELECT id FROM notifications
 WHERE {WHOSE} AND scope = %(scope)s AND dedup_key = %(key)s ORDER BY id DESC LIMIT 1
"""


class BadNotificationError(ValueError):
    """Something that was said cannot be kept; `field` names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class NothingOpenError(Exception):
    """There never was a notification under this key that could be acknowledged or resolved."""


def notify(
    *,
    tenant_id: str | None,
    action: Action | str,
    severity: Severity | str,
    category: Category | str,
    source: str,
    component: str | None = None,
    summary: str,
    dedup_key: str | None = None,
    details: Mapping[str, Any] | None = None,
    links: Mapping[str, str] | None = None,
    audience: Sequence[str] = (),
    by: str,
    cause_event_id: UUID | None = None,
    group: str | None = None,
    kind: str | None = None,
    classification: Classification | str = Classification.INTERNAL,
    inhibited_by: str | None = None,
    scope: str = "",
) -> UUID | None:
    """Say something about a thing, in the caller's transaction and tenant's context (or across tenants, in a loop).

    `trigger` begins a notification, or repeats the one that is open under `dedup_key` (of the tenant and `scope`; ''
    is the plane's own); without a key it is its own. `acknowledge` and `resolve` are about the open one; said of one
    that is over they change nothing. Returns the notification's id; None where there never was one under the key.
    Said again for the same `cause_event_id` (with source, action and key) it does nothing. `details` are ids, counts
    and codes; `audience` words as `apps.notifications.audience` has them, the usual one if empty; `inhibited_by` names
    what is behind it and is told instead. Raises `BadNotificationError`.
    """
    values = _checked(
        action=Action(action),
        severity=Severity(severity),
        category=Category(category),
        classification=Classification(classification),
        tenant_id=tenant_id,
        summary=summary,
        details=details or {},
        links=links or {},
        audience=audience,
    )
    new_id = uuid7()
    values |= {
        "id": new_id,
        "tenant": tenant_id,
        "source": source,
        "component": component,
        "group": group,
        "kind": kind,
        "scope": scope,
        "given": dedup_key,
        "key": dedup_key or str(new_id),
        "by": by,
        "cause": cause_event_id,
        "inhibited": inhibited_by,
    }
    with preparing() as cursor:
        if cause_event_id is not None:
            cursor.execute(SAID_BEFORE, values)
            before = cursor.fetchone()
            if before is not None:
                return UUID(str(before[0]))
        if action == Action.TRIGGER:
            cursor.execute(TRIGGER, values)
        elif action == Action.ACKNOWLEDGE:
            cursor.execute(_of(tenant_id, ACKNOWLEDGE), {**values, "event": events.ACKNOWLEDGED})
        else:
            cursor.execute(_of(tenant_id, RESOLVE), {**values, "event": events.RESOLVED})
        found = cursor.fetchone()
        if found is None:
            cursor.execute(_of(tenant_id, NEWEST), values)
            found = cursor.fetchone()
        else:
            wake_notifier()
    return None if found is None else UUID(str(found[0]))


def _of(tenant_id: str | None, statement: str) -> str:
    """Return a statement that finds its rows along an index, which IS NOT DISTINCT FROM never does."""
    return statement.replace(WHOSE, "tenant_id IS NULL" if tenant_id is None else "tenant_id = %(tenant)s")


def _checked(
    *,
    action: Action,
    severity: Severity,
    category: Category,
    classification: Classification,
    tenant_id: str | None,
    summary: str,
    details: Mapping[str, Any],
    links: Mapping[str, str],
    audience: Sequence[str],
) -> dict[str, Any]:
    """Return the parts that can be wrong, as they are kept; raises `BadNotificationError`."""
    try:
        words = audiences.checked(audience or audiences.usual(tenant_id=tenant_id), tenant_id=tenant_id)
    except audiences.BadAudienceError as error:
        raise BadNotificationError("audience", str(error)) from error
    told = orjson.dumps(dict(details), default=str)
    if len(told) > MOST_DETAILS_BYTES:
        raise BadNotificationError("details", f"at most {MOST_DETAILS_BYTES} bytes as JSON would be right")
    bad = [title for title, url in links.items() if not url.startswith(("https://", "http://", "/"))]
    if bad:
        raise BadNotificationError("links", f"{bad[0]!r} leads nowhere: http, https or a path would be right")
    return {
        "action": str(action),
        "severity": str(severity),
        "category": str(category),
        "classification": str(classification),
        "summary": " ".join(summary.split())[:LONGEST_SUMMARY],
        "details": told.decode(),
        "links": orjson.dumps(dict(links)).decode(),
        "audience": list(words),
        "target": audiences.target(words, tenant_id=tenant_id),
    }
