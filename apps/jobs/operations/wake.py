"""Telling the scheduler that something may be eligible."""

from __future__ import annotations

from django.db import transaction

from apps.core.database import preparing

CHANNEL = "ops_scheduler"


def wake_scheduler(*, tenant_id: str = "") -> None:
    """Wake the scheduler once the current transaction has committed; `tenant_id`: whose job waits now.

    A NOTIFY inside the transaction would hold PostgreSQL's one notification lock through the commit's fsync, and so
    serialise every submission; sent on its own it holds it for microseconds. A lost one costs a second: the scheduler
    looks by itself that often.
    """

    def tell() -> None:  # a function: of a partial Django cannot say the name when it fails
        _notify(tenant_id)

    transaction.on_commit(tell, robust=True)


def _notify(word: str) -> None:
    with preparing() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, word])
