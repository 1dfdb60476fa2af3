"""The history's filters: what each finds, that a page stays where it is, and that PostgreSQL uses an index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection

from apps.core.ids import uuid7
from apps.jobs.lifecycle import Priority
from apps.jobs.models import Job
from apps.jobs.queries import Filters
from apps.tenancy.context import in_tenant
from tests.integration.conftest import Change
from tests.support.api import JOBS, Module, fields, refused, said
from tests.support.work import admitted, submitted

MANY = 200_000


class TestFilters:
    """Each finds what it says, alone and together."""

    @pytest.mark.parametrize(
        ("name", "value", "submission"),
        [
            ("contract", "kpi.seattle-rain@1", {"type": "kpi.refresh", "contract": "kpi.seattle-rain@1"}),
            ("environment", "batch", {"environment": "batch"}),
            ("priority", "critical", {"priority": Priority.CRITICAL}),
            ("trigger", "schedule", {"trigger": "schedule"}),
            ("submitted_by", "someone-else", {"submitted_by": "someone-else"}),
            ("concurrency_key", "k 1", {"concurrency_key": "k 1"}),
        ],
    )
    def test_finds_what_it_says(self, acme: Module, name: str, value: str, submission: dict[str, Any]) -> None:
        admitted(), admitted(concurrency_key="k 2")
        wanted = admitted(**submission)
        admitted(tenant="globex") if "contract" in submission else admitted(tenant="globex", **submission)
        assert acme.ids(**{name: value}) == [str(wanted)]
        assert acme.ids(**{name: value, "type": "ops.none"}) == []

    def test_by_outcome_and_by_the_status_that_is_one(self, acme: Module) -> None:
        admitted()
        refusal = submitted("kpi.refresh")
        for query in ({"outcome": "rejected"}, {"status": "rejected"}, {"status": "rejected", "outcome": "rejected"}):
            assert acme.ids(**query) == [str(refusal.job_id)]
        assert acme.ids(outcome="failed") == acme.ids(status="rejected", outcome="failed") == []

    def test_by_parent(self, acme: Module, change: Change) -> None:
        parent, child = admitted(), admitted()
        change("UPDATE jobs SET parent_id = %s WHERE job_id = %s", parent, child)
        assert acme.ids(parent_id=str(parent)) == [str(child)]
        assert acme.ids(parent_id=str(child)) == []

    @pytest.mark.parametrize(
        ("name", "value"),
        [("outcome", "queued"), ("priority", "2"), ("trigger", "cron"), ("parent_id", "x"), ("status", "FAILED")],
    )
    def test_a_word_that_is_none_is_refused_by_name(self, acme: Module, name: str, value: str) -> None:
        assert fields(refused(acme.get(JOBS, **{name: value}), 400, "invalid_fields")) == [name]


def test_pages_hold_every_job_once_while_others_are_submitted(acme: Module) -> None:
    there = [str(admitted()) for _ in range(9)]
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        page = said(acme.get(JOBS, **query))
        seen += [item["job_id"] for item in page["items"]]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
        admitted(), admitted(tenant="globex")
    assert seen == list(reversed(there))


@pytest.fixture(scope="module")
def history(superuser: psycopg.Connection) -> Iterator[None]:
    """Lay 200,000 jobs of a long past: one tenant's nearly all, few of them failed, a thousand with a key."""
    superuser.execute(
        f"""
        INSERT INTO jobs (job_id, tenant_id, type, status, outcome, priority, environment_id, region, params,
               params_digest, trigger, submitted_by, concurrency_key, timeout_s, max_attempts, obligations, attempt,
               retries, fence, unclaimed, submitted_at, finished_at, evidence_id)
        SELECT overlay(overlay(md5(n::text) PLACING lpad(to_hex(n), 12, '0') FROM 1) PLACING '7' FROM 13)::uuid,
               CASE WHEN n % 50 = 0 THEN 'globex' ELSE 'acme' END, 'ops.noop', outcome, outcome, 2, 'default',
               'local', '{{}}', '', 'user', 'm', CASE WHEN n % 199 = 0 THEN 'k' || n % 7 END, 60, 3, '{{}}', 1, 0, 1,
               0, clock_timestamp() - interval '1 day', clock_timestamp(), gen_random_uuid()
          FROM (SELECT n, CASE WHEN n % 997 = 0 THEN 'failed' ELSE 'succeeded' END AS outcome
                  FROM generate_series(1, {MANY}) AS n) AS past
        """.encode()
    )
    superuser.execute(b"ANALYZE jobs")
    yield
    superuser.execute(b"TRUNCATE jobs CASCADE")
    superuser.execute(b"ANALYZE jobs")


# What is asked, and the index that must answer; where most jobs fit, whichever gives the newest first.
PLANS = [
    ("nothing", Filters(), ""),
    ("a cursor", Filters(before=uuid7()), ""),
    ("what failed", Filters(outcome="failed"), "jobs_not_succeeded"),
    ("what failed, by its status", Filters(status="failed"), "jobs_not_succeeded"),
    ("what failed, by pages", Filters(status="failed", before=uuid7()), "jobs_not_succeeded"),
    ("what timed out, which none did", Filters(status="timed_out"), "jobs_not_succeeded"),
    ("a key", Filters(concurrency_key="k3"), "jobs_by_key"),
    ("a parent", Filters(parent_id=uuid7()), "jobs_children"),
    ("what runs", Filters(status="running"), "jobs_holding_slot"),
    ("what is deferred", Filters(status="deferred"), "jobs_deferred"),
    ("what succeeded", Filters(status="succeeded"), ""),
    ("a type that is common", Filters(job_type="ops.noop"), ""),
]


class TestOnALongHistory:
    """200,000 jobs, as the web's role reads them, with its row security."""

    def test_each_filter_reads_an_index_and_little_of_it(
        self, history: None, django_db_blocker: Any, superuser: psycopg.Connection
    ) -> None:
        # Without the `db` fixture, which would sweep the history away behind the first test.
        with django_db_blocker.unblock():
            try:
                for name, filters, index in PLANS:
                    with in_tenant("acme"):
                        plan = (
                            Job.objects.filter(**filters.conditions())
                            .order_by("-job_id")[:51]
                            .explain(analyze=True, buffers=True, timing=False)
                        )
                    assert index in plan, (name, plan)
                    assert "Seq Scan" not in plan, (name, plan)
                    assert touched(plan) < 600, (name, plan)
            finally:
                connection.close()


def touched(plan: str) -> int:
    """Return how many pages the whole plan touched."""
    words = next(line for line in plan.splitlines() if "Buffers:" in line).split()
    return sum(int(word.partition("=")[2]) for word in words if word.partition("=")[0] in {"hit", "read"})
