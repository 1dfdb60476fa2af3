"""What situations of waiting are built with, and the question asked about them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

import psycopg
from django.db import connection

from apps.core.ids import uuid7
from apps.jobs.operations import gates
from apps.jobs.operations.gates import Load, ShutGate
from apps.jobs.operations.processes import REGISTER, registration
from tests.integration.conftest import Change, Control
from tests.support.api import Module, said
from tests.support.queue import queue


class Scene:
    """What a situation is built with."""

    def __init__(self, *, session: psycopg.Connection[Any], change: Change, control: Control) -> None:
        self.session, self.change, self.control = session, change, control
        self.acme = self.other = 0

    def alive(self, *, worker: bool = True, scheduler: bool = True, environment: str = "default") -> None:
        """Register live processes."""
        for role, capacity, wanted in (("worker", 4, worker), ("scheduler", 0, scheduler)):
            if wanted:
                facts = registration(
                    process_id=uuid7(),
                    role=role,
                    name=role,
                    host="here",
                    pid=1,
                    environment=environment if role == "worker" else None,
                    capacity=capacity,
                )
                with self.control(), connection.cursor() as cursor:
                    cursor.execute(REGISTER, facts)

    def run(self, *ids: UUID) -> None:
        """Let jobs hold their slots."""
        self.change(
            "UPDATE jobs SET status = 'dispatched', fence = 1, dispatched_at = now() WHERE job_id = ANY (%s)", list(ids)
        )

    def noted(
        self,
        *shut: ShutGate,
        weight: float = 400,
        short: Collection[str] = (),
        worker_in_s: float | None = None,
        **by_type: int,
    ) -> None:
        """Note what the scheduler would: loads of the default environment, types with `_` for a dot."""
        counts = {name.replace("_", "."): count for name, count in by_type.items()}
        load = Load(counts, 4, weight, short, worker_in_s)
        with self.control():
            gates.note(set(shut), loads={"default": load})

    def one(self, **more: Any) -> UUID:
        (job_id,) = queue(self.session, tenant="acme", **more)
        return job_id


def why(module: Module, job_id: UUID) -> dict[str, Any]:
    return said(module.get(f"/operations/jobs/{job_id}/why"))


def paused(module: Module, environment: str, **asked: Any) -> dict[str, Any]:
    """Let a module pause an environment: a tenant its own jobs there, the platform everybody's."""
    return said(module.post({"reason": "moving", **asked}, path=f"/operations/queues/{environment}/pause"))
