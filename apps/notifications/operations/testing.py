"""Test messages: a channel that is asked only in need is found broken only in need. Off unless given a test address."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction

from apps.core.database import preparing
from apps.core.ids import uuid7
from apps.notifications.kinds import Item, Message, NoSuchKindError, kind_of
from apps.notifications.lifecycle import Category, Severity
from apps.notifications.models import Channel
from apps.notifications.operations.intake import notify
from apps.notifications.operations.sending import Claimed, Sent, note_standing
from apps.notifications.secrets import SealBrokenError, opened

SOURCE = "notifications"
DUE = """
UPDATE notification_channels SET test_at = clock_timestamp()
 WHERE channel_id IN (
       SELECT channel_id FROM notification_channels
        WHERE enabled AND tested_every_s IS NOT NULL
          AND (test_at IS NULL OR test_at + tested_every_s * interval '1 s' <= clock_timestamp())
        ORDER BY test_at NULLS FIRST LIMIT %s FOR UPDATE SKIP LOCKED)
RETURNING channel_id, test_at
"""
NOTE = "UPDATE notification_channels SET test_error = %s WHERE channel_id = %s"


def due(*, limit: int) -> list[Claimed]:
    """Return the test messages whose time has come, at most so many, each to be sent once to its test address."""
    if limit <= 0:
        return []
    with preparing() as cursor:
        cursor.execute(DUE, [limit])
        rows = dict(cursor.fetchall())
    channels = Channel.objects.in_bulk(list(rows)) if rows else {}
    return [_message(each, at=rows[each.channel_id]) for each in channels.values() if _has_address(each)]


def note(sent: Sent) -> None:
    """Note what came of a test message: its failure is an alert, its success after one the end of it."""
    channel, answer = sent.claimed.channel, sent.answer
    with transaction.atomic():
        note_standing(channel_id=channel.channel_id, answer=answer, took_ms=sent.took_ms)
        with preparing() as cursor:
            cursor.execute(NOTE, [None if answer.accepted else answer.error, channel.channel_id])
        notify(
            tenant_id=None,
            action="resolve" if answer.accepted else "trigger",
            severity=Severity.ERROR,
            category=Category.ALERT,
            source=SOURCE,
            component=channel.name,
            summary=f"The channel {channel.name} did not take a test message.",
            dedup_key=f"channel:{channel.channel_id}",
            details={"error": answer.error, "status": answer.status},
            by=SOURCE,
        )


def _has_address(channel: Channel) -> bool:
    try:
        known, typed = kind_of(channel.kind), opened(bytes(channel.sealed), channel_id=channel.channel_id)
    except (NoSuchKindError, SealBrokenError):
        return False
    return known.tested_by is not None and "test_address" in typed


def _message(channel: Channel, *, at: Any) -> Claimed:
    item = Item(
        notification_id=UUID(int=0),
        tenant_id=None,
        severity=Severity.INFO,
        category=Category.EVENT,
        source=SOURCE,
        component=channel.name,
        group=None,
        kind="test",
        summary=f"A test message by the channel {channel.name}.",
        details={},
        links={},
        dedup_key=f"channel:{channel.channel_id}",
        timestamp=at,
        resolved=False,
        acknowledged=False,
        repeats=0,
        reason="test",
    )
    message = Message(
        message_id=uuid7(), channel=channel.name, at=at, items=(item,), production=not settings.ENVIRONMENT.local
    )
    return Claimed(channel=channel, message=message, deliveries=())
