"""Telling the notifier that there is something to do."""

from __future__ import annotations

from django.db import transaction

from apps.core.database import preparing

CHANNEL = "ops_notifier"


def wake_notifier() -> None:
    """Wake the notifier once the current transaction has committed. A lost word costs a second: it looks that often."""
    transaction.on_commit(_notify, robust=True)


def _notify() -> None:
    with preparing() as cursor:
        cursor.execute("SELECT pg_notify(%s, '')", [CHANNEL])
