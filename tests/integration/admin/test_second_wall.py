"""The second wall: PostgreSQL refuses what a careless page would let pass, and the page says 403."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import ProgrammingError, connection
from django.test import Client
from psycopg.errors import InsufficientPrivilege

from apps.tenancy.context import operator_reading
from tests.support.admin import Past

OWNED = ("jobs", "attempts", "decisions", "log_chunks", "events", "evidence_records", "processes", "event_consumers")


@pytest.mark.urls("tests.integration.admin.naive_urls")
def test_a_careless_page_is_answered_403_and_nothing_is_written(operator: Client, past: Past, look: Any) -> None:
    answer = operator.post(f"/admin/jobs/job/{past.waiting}/change/", {"reason_code": "mine"})
    assert answer.status_code == 403
    assert look("SELECT reason_code FROM jobs WHERE job_id = %s", past.waiting) == [{"reason_code": None}]


@pytest.mark.parametrize("table", OWNED)
def test_the_operators_role_writes_no_row_that_the_plane_writes(db: None, table: str) -> None:
    def refused() -> None:
        with operator_reading(), connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {table}")

    with pytest.raises(ProgrammingError) as caught:
        refused()
    assert isinstance(caught.value.__cause__, InsufficientPrivilege)
