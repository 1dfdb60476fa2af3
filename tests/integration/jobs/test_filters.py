"""The history by time, and logs by position: what a bad filter is told."""

from __future__ import annotations

import pytest

from apps.jobs import queries
from apps.jobs.models import Job
from apps.tenancy.context import in_tenant
from tests.integration.conftest import Change
from tests.support.api import JOBS, Module, refused
from tests.support.work import admitted


def test_the_history_is_cut_by_time(db: None, change: Change) -> None:
    old, new = admitted(), admitted()
    change("UPDATE jobs SET submitted_at = '2020-01-01T00:00:00Z' WHERE job_id = %s", old)
    with in_tenant("acme"):
        edge = Job.objects.get(job_id=new).submitted_at
        after = queries.page(queries.Filters(submitted_after=edge), limit=10)
        before = queries.page(queries.Filters(submitted_before=edge), limit=10)
    assert [job.job_id for job in after] == [new]
    assert [job.job_id for job in before] == [old]


@pytest.mark.parametrize("text", ["yesterday", "2026-01-31T12:00:00", "2026-13-01T00:00:00Z"])
def test_a_time_that_is_none_is_refused_by_name(db: None, text: str) -> None:
    problem = refused(Module("acme").get(JOBS, submitted_after=text), 400, "invalid_fields")
    assert [error["field"] for error in problem["errors"]] == ["submitted_after"]
