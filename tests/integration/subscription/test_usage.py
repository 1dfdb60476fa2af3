"""Usage: each event of the log counts once, and a tenant reads its own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from django.conf import settings
from structlog.testing import capture_logs

from apps.events.operations import number_committed
from apps.jobs.lifecycle import Ending
from apps.jobs.operations.metering import meter
from tests.integration.conftest import Change, Control, Look
from tests.support.api import Module, fields, refused, said
from tests.support.work import admitted, claimed, finish, submitted, worker
from workers.relay import STREAM, Relay

USAGE = "/operations/usage"


def played(control: Control) -> None:
    """Two of acme's jobs run, one of them twice; one is refused; globex has one waiting."""
    first, second = admitted(), admitted()
    submitted("kpi.refresh")
    admitted(tenant="globex")
    with control():
        by = worker()
        finish(claimed(first, worker_id=by))
        finish(claimed(second, worker_id=by), Ending.FAILED, error={"class": "E", "code": "e", "message": "e"})
        number_committed(limit=1000)
        meter()


def test_each_event_counts_once_however_often_it_is_metered(look: Look, control: Control) -> None:
    played(control)
    with control():
        meter()
        meter()
    rows = {(row["tenant_id"], row["job_type"]): row for row in look("SELECT * FROM usage_daily WHERE day IS NOT NULL")}
    noop = rows["acme", "ops.noop"]
    assert (noop["submitted"], noop["started"], noop["succeeded"], noop["failed"]) == (2, 2, 1, 0)
    assert noop["worker_seconds"] > 0
    assert rows["acme", "kpi.refresh"]["rejected"] == 1
    assert rows["acme", "kpi.refresh"]["submitted"] == 0
    assert rows["globex", "ops.noop"]["submitted"] == 1
    assert noop["day"] == datetime.now(tz=UTC).date()


def test_a_tenant_reads_its_own_page_by_page(control: Control, acme: Module, globex: Module, platform: Module) -> None:
    played(control)
    whole = said(acme.get(USAGE))["items"]
    assert [(each["tenant_id"], each["job_type"]) for each in whole] == [("acme", "kpi.refresh"), ("acme", "ops.noop")]
    page = said(acme.get(USAGE, limit=1))
    assert page["items"] == whole[:1]
    assert said(acme.get(USAGE, limit=1, cursor=page["next"]))["items"] == whole[1:]
    assert {each["tenant_id"] for each in said(globex.get(USAGE))["items"]} == {"globex"}
    assert {each["tenant_id"] for each in said(platform.get(USAGE))["items"]} == {"acme", "globex"}
    assert acme.get(USAGE, tenant_id="globex").status_code == 404
    assert said(acme.get(USAGE, to="2020-01-01"))["items"] == []


def test_the_relay_adds_it_up_and_tells_events_on_when_one_cannot_be_added(
    control: Control, look: Look, change: Change
) -> None:
    first = admitted()
    relay = Relay(url=settings.ENVIRONMENT.events_url)
    with control():
        relay.step()
    assert [row["submitted"] for row in look("SELECT submitted FROM usage_daily")] == [1]
    second = admitted()
    change("UPDATE events SET data = jsonb_build_object('type', repeat('x', 65)) WHERE subject = %s", str(second))
    relay = Relay(url=settings.ENVIRONMENT.events_url)  # whose time to add up is now
    with control(), capture_logs() as lines:
        relay.step()
    assert "usage_not_added_up" in [line["event"] for line in lines]
    assert look("SELECT 1 FROM events WHERE sequence IS NULL") == []
    with redis.Redis.from_url(settings.ENVIRONMENT.events_url) as stream:
        entries: Any = stream.xrange(STREAM)
        stream.delete(STREAM)
    told = [fields[b"event"].decode() for _, fields in entries]
    assert any(str(first) in each for each in told)
    assert any(str(second) in each for each in told)


@pytest.mark.parametrize("data", ["{}", '{"type": null}'])
def test_an_event_without_a_job_type_is_passed_over(control: Control, look: Look, change: Change, data: str) -> None:
    change("UPDATE events SET data = %s WHERE subject = %s", data, str(admitted()))
    admitted()
    with control():
        number_committed(limit=1000)
        meter()
    assert [(row["job_type"], row["submitted"]) for row in look("SELECT * FROM usage_daily")] == [("ops.noop", 1)]


def test_what_is_wrong_with_a_filter_is_named(acme: Module) -> None:
    for name, value in (("from", "yesterday"), ("to", "2026-13-01"), ("cursor", "x"), ("day", "1")):
        assert fields(refused(acme.get(USAGE, **{name: value}), 400, "invalid_fields")) == [name]
