"""Beat's disposable ticks: a lost one is the next one's."""

from __future__ import annotations

import structlog
from django.db import connection

from apps.core import metrics
from apps.evidence import keys
from apps.health.operations import looking
from apps.jobs.operations.processes import FORGET
from apps.jobs.retention import erase_past_retention
from apps.notifications.operations import auditing
from apps.tenancy import idempotency
from apps.tenancy.context import across_tenants

log = structlog.get_logger(__name__)

AUDIT_SLACK_S = 10.0  # the notifier looks each half second: what it has not seen by then, it does not see
RETENTION_ACTOR = "operations.retention"  # who erased, as the tombstones say
RETENTION_AT_ONCE = 5000
RETENTION_WITHIN_S = 60.0


def heartbeat() -> str:
    """Show that beat, broker and the control workers pass a message on; forget dead processes and expired keys."""
    with connection.cursor() as cursor:
        cursor.execute(FORGET)
        forgotten = cursor.rowcount
    with across_tenants():
        looking.tick()
        late = auditing.audit(slack_s=AUDIT_SLACK_S)
    if late:
        log.error("notifications_undelivered", count=late, by="the auditor that stands in for the notifier")
    log.info("tick", forgotten_processes=forgotten, expired_keys=idempotency.purge_expired())
    return "ok"


def retention() -> str:
    """Erase evidence that is past its retention and under no legal hold; what a minute does not do, the next tick does.

    Raises `KeysMissingError` or `BadKeyError` where the logs' keys cannot be read: a tombstone has to be signed.
    """
    erased = 0
    with across_tenants():
        for each in erase_past_retention(
            actor=RETENTION_ACTOR, ring=keys.ring(), limit=RETENTION_AT_ONCE, within_s=RETENTION_WITHIN_S
        ):
            erased += len(each.numbers)
            metrics.evidence_erased(records=len(each.numbers))
            log.info(
                "evidence_erased",
                tenant_id=each.log.tenant_id,
                region=each.log.region,
                records=len(each.numbers),
                retention_days=each.retention_days,
                tombstone=each.tombstone,
            )
    log.info("retention", erased_records=erased)
    return "ok"
