"""Tickets are found by the jobs they are about, whether or not their log still names each of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from apps.tenancy.context import in_tenant
from apps.tickets import queries
from apps.tickets.operations import opening
from tests.integration.tickets.conftest import ERROR, Ran


@pytest.mark.usefixtures("reactor")
def test_a_failure_that_is_only_counted_leads_to_its_ticket_too(
    ran: Ran, react: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "MOST_JOB_LINKS", 1)
    first, second = ran(fails=ERROR, times=2)
    react()
    (good,) = ran()
    with in_tenant("acme"):
        (ticket,) = queries.page(queries.Filters(job_id=first), limit=9)
        assert queries.page(queries.Filters(job_id=second), limit=9) == [ticket]
        assert queries.page(queries.Filters(job_id=good), limit=9) == []
