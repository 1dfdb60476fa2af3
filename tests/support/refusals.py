"""Refusals alike: a caller that loops on them, and what became of its evidence."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from io import StringIO
from typing import Any
from uuid import UUID

from django.core.management import call_command
from django.db import connection

from tests.integration.conftest import Change, Look
from tests.support.api import JOBS, Module
from tests.support.work import submitted

OVER = "UPDATE evidence_series SET closes_at = clock_timestamp() - interval '1 ms' WHERE closed_at IS NULL"


def looped(times: int, **asked: Any) -> list[UUID]:
    """Ask `times` for what is refused, by default a type without the contract it needs; return the jobs."""
    made = [submitted(**{"type": "kpi.refresh", **asked}) for _ in range(times)]
    assert all(each.refusal is not None for each in made)
    return [each.job_id for each in made]


def over(change: Change) -> int:
    """Let the time of all series be over; return of how many."""
    return change(OVER)


def records(look: Look, *, tenant: str = "acme") -> list[dict[str, Any]]:
    """Return a tenant's records, oldest first, each with what it says."""
    rows = look("SELECT * FROM evidence_records WHERE tenant_id = %s ORDER BY created_at, record_id", tenant)
    return [{**row, "said": json.loads(bytes(row["payload"]))["predicate"]} for row in rows]


def counts(look: Look) -> list[int]:
    """Return how many refusals each counting record tells of, oldest first."""
    return [each["said"]["count"] for each in records(look) if each["predicate"] == "series"]


def evidence(look: Look, jobs: list[UUID]) -> list[UUID]:
    """Return the record that each of the jobs names."""
    found = {row["job_id"]: row["evidence_id"] for row in look("SELECT job_id, evidence_id FROM jobs")}
    return [found[job_id] for job_id in jobs]


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """Do each in a thread and a session of its own, beginning together; return what they returned, or raised."""
    start, results = threading.Barrier(len(works)), [None] * len(works)

    def run(place: int, work: Callable[[], Any]) -> None:
        try:
            start.wait(timeout=30)
            results[place] = work()
        except Exception as error:  # noqa: BLE001 - the test looks at it
            results[place] = error  # type: ignore[call-overload]
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=each) for each in enumerate(works)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(timeout=120)
    return results


def verified() -> dict[str, Any]:
    """Return what `evidence_verify` finds."""
    said = StringIO()
    with suppress(SystemExit):
        call_command("evidence_verify", "--json", stdout=said)
    return dict(json.loads(said.getvalue()))


def receipt(acme: Module, job_id: Any) -> dict[str, Any]:
    """Return a job's receipt, as its module reads it."""
    answer = acme.get(f"{JOBS}/{job_id}/evidence")
    assert answer.status_code == 200, answer.content
    return dict(answer.json())
