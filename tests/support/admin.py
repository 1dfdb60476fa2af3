"""An operator's browser, and a past in two tenants to look at with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from django.contrib.auth import get_user_model
from django.test import Client

from apps.events.operations import advance, number_committed
from apps.evidence.heads import Heads
from apps.jobs.lifecycle import Ending
from apps.jobs.operations.run import report
from apps.tenancy.context import across_tenants, operator_reading
from tests.support.api import client
from tests.support.database import entering
from tests.support.work import admitted, claimed, finish, submitted, worker
from workers.sealer import Sealer


@dataclass(frozen=True)
class Past:
    """Jobs by how they ended, and the worker that ran them."""

    succeeded: UUID
    failed: UUID
    refused: UUID
    waiting: UUID
    worker: UUID


def signed_in() -> Client:
    """Return a browser in which an operator has signed in."""
    browser = client(headers={"Accept": "text/html"})
    with operator_reading():
        browser.force_login(get_user_model().objects.create_superuser("signed-in"))
    return browser


def a_past(*, heads: Path) -> Past:
    """Leave a job of each kind, in two tenants, with attempts, lines, events and evidence."""
    succeeded, failed = admitted(params={}), admitted("ops.fail", tenant="globex", params={"times": 1})
    refused = submitted("kpi.refresh", tenant="globex", contract="kpi.seattle-rain@1").job_id
    with entering("control"), across_tenants():
        mine = worker()
        first = claimed(succeeded, worker_id=mine)
        line = ["2026-01-01T00:00:00Z", "info", "half of it", {"rows": 12}]
        report(
            job_id=succeeded,
            fence=first.fence,
            bundle_id=first.bundle_id,
            progress={"done": 1},
            first_line=1,
            lines=[line],
        )
        finish(first)
        finish(claimed(failed, worker_id=mine), Ending.FAILED, permanent=True, error={"class": "Oops", "code": "oops"})
        number_committed(limit=2)
        advance(consumer="stream", position=1)
        Sealer(heads=Heads(heads), batch=3).step()
    waiting = admitted()
    return Past(succeeded=succeeded, failed=failed, refused=refused, waiting=waiting, worker=mine)
