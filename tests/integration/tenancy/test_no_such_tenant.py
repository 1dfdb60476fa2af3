"""A token for every tenant may name one that there is not: what it asks to be made there is refused, and not made."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.api import Module, refused

JOB = {"type": "ops.noop"}
SCOPES = "jobs:submit jobs:control queues:write schedules:write webhooks:write notify:send tickets:write health:report"
MADE: dict[str, dict[str, Any]] = {
    "/operations/jobs": JOB,
    "/operations/webhooks": {"url": "https://hooks.example.com/", "event_types": ["operations.job.*"]},
    "/operations/schedules": {"name": "nightly", "cron": "0 2 * * *", "job": JOB},
    "/operations/triggers": {"name": "after", "event_type": "operations.job.completed", "job": JOB},
    "/operations/notify": {"summary": "it hurts", "severity": "error"},
    "/operations/ticket": {"issue": "it hurts"},
    "/operations/health/heartbeats": {"component": "crm", "signal": "success"},
    "/operations/queues/default/pause": {"reason": "source is down"},
    "/operations/queues/default/resume": {},
}


@pytest.mark.parametrize("path", MADE)
@pytest.mark.parametrize("key", [{}, {"Idempotency-Key": "k"}])
def test_nothing_is_made_for_a_tenant_that_is_not_there(db: None, path: str, key: dict[str, str]) -> None:
    module = Module("*", scope=SCOPES)
    refused(module.post({**MADE[path], "tenant_id": "nobody"}, path=path, **key), 404, "not_found")
