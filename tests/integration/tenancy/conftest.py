"""Rows of two tenants on both sides of the walls."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from apps.events import operations as event_log
from apps.events.models import Event
from apps.evidence.heads import Heads
from apps.evidence.logs import Log
from apps.evidence.operations import emit
from apps.jobs.operations.dependencies import DependsOn
from apps.jobs.operations.run import report
from tests.integration.conftest import Control
from tests.support.api import Module, said
from tests.support.work import admitted, claimed, finish, naming, worker
from workers.sealer import Sealer


@pytest.fixture
def work_of_two_tenants(db: None, control: Control, tmp_path: Path) -> None:
    """Leave rows of acme and globex in every tenant-owned table."""
    key = {"Idempotency-Key": "the-same"}
    ids = [UUID(said(Module(tenant).post({"type": "ops.noop"}, **key), 202)["job_id"]) for tenant in ("acme", "globex")]
    for tenant, job_id in zip(("acme", "globex"), ids, strict=True):
        admitted(tenant=tenant, depends_on=DependsOn(jobs=[job_id]))
    with control():
        mine = worker()
        for job_id in ids:
            run = claimed(job_id, worker_id=mine)
            report(**naming(run), progress=None, first_line=1, lines=[["t", "info", "hello", {}]])
            finish(run)
        Sealer(heads=Heads(tmp_path)).step()
        for tenant in ("acme", "globex"):
            emit.note_accepted(Log(tenant, "local"), start=0, size=1, ref="r", note=None, sealed=1)
            event = Event.objects.filter(tenant_id=tenant).order_by("occurred_at")[0]
            event_log.set_aside(reaction="r", event=event, tries=1, error_class="E", error_at="x:1")
