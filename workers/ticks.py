"""Beat's disposable ticks: a lost one is the next one's."""

from __future__ import annotations

import structlog
from django.db import connection

from apps.health.operations import looking
from apps.jobs.operations.processes import FORGET
from apps.tenancy import idempotency
from apps.tenancy.context import across_tenants

log = structlog.get_logger(__name__)


def heartbeat() -> str:
    """Show that beat, broker and the control workers pass a message on; forget dead processes and expired keys."""
    with connection.cursor() as cursor:
        cursor.execute(FORGET)
        forgotten = cursor.rowcount
    with across_tenants():
        looking.tick()
    log.info("tick", forgotten_processes=forgotten, expired_keys=idempotency.purge_expired())
    return "ok"
