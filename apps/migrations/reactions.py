"""What migrations do about their own events: count them. A count is made once its transaction is, and not twice."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from django.db import transaction

from apps.core import metrics
from apps.events.models import Event
from apps.migrations.lifecycle import OVER
from apps.migrations.models import Migration
from apps.migrations.progress import ran_s


def on_moved(event: Event) -> None:
    """Count a migration that entered a status, and of one that is over how long it ran."""
    status, module = event.data["status"], event.data["module"]
    transaction.on_commit(partial(metrics.migration_entered, status=status, module=module), robust=True)
    if status not in OVER:
        return
    row = Migration.every.filter(id=UUID(event.data["migration_id"])).only("started_at", "stopped_s").first()
    if row is not None and row.started_at is not None:
        ran = ran_s(started_at=row.started_at, now=event.occurred_at, stopped_s=row.stopped_s, stopped_at=None)
        transaction.on_commit(partial(metrics.migration_ran, seconds=ran, module=module, outcome=status), robust=True)
