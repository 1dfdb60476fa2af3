"""Telling the scheduler that something may be eligible."""

from __future__ import annotations

from django.db import connection, transaction

CHANNEL = "ops_scheduler"


def wake_scheduler() -> None:
    """Wake the scheduler once the current transaction has committed.

    A NOTIFY inside the transaction would hold PostgreSQL's one notification lock through the commit's fsync, and so
    serialise every submission; sent on its own it holds it for microseconds. A lost one costs a second: the scheduler
    looks by itself that often.
    """
    transaction.on_commit(_notify, robust=True)


def _notify() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"NOTIFY {CHANNEL}")
