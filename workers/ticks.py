"""Beat's disposable ticks: a lost one is the next one's."""

from __future__ import annotations

import structlog
from django.db import connection

from apps.jobs.operations.processes import FORGET

log = structlog.get_logger(__name__)


def heartbeat() -> str:
    """Show that beat, broker and the control workers pass a message on; forget processes that are long gone."""
    with connection.cursor() as cursor:
        cursor.execute(FORGET)
        forgotten = cursor.rowcount
    log.info("tick", forgotten_processes=forgotten)
    return "ok"
