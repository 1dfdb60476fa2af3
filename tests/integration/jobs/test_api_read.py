"""Reading over HTTP: one job, its story, the history by filters and pages; and who may."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

import pytest
from django.test import Client

from apps.jobs.lifecycle import Ending
from apps.jobs.operations.dispatch import release_due
from apps.jobs.types import REGISTRY
from tests.integration.conftest import Change, Control, Look
from tests.support.api import INSTANT, JOBS, Module, fields, refused, said
from tests.support.work import AT_ONCE, admitted, claimed, finish, only, worker


def nothing_written(look: Look) -> bool:
    return bool(only(look("SELECT (SELECT count(*) FROM jobs) + (SELECT count(*) FROM events) AS rows"))["rows"] == 0)


class TestWhoMayAsk:
    """401 without a good token, 403 without the scope."""

    @pytest.mark.parametrize("header", [None, "Bearer x", "Basic b3A6b3A=", "Bearer"])
    def test_nobody_is_let_in_without_a_token(self, db: None, look: Look, header: str | None) -> None:
        headers = {"Authorization": header} if header else {}
        for answer in (
            Client().get(JOBS, headers=headers),
            Client().post(JOBS, b'{"type": "ops.noop"}', content_type="application/json", headers=headers),
        ):
            assert answer.status_code == 401
            assert answer["WWW-Authenticate"].startswith("Bearer ")
        assert nothing_written(look)

    @pytest.mark.parametrize(
        ("scope", "lacking"), [("jobs:read", "jobs:submit"), ("jobs:control", "jobs:submit"), ("", "jobs:submit")]
    )
    def test_submitting_needs_its_scope(self, look: Look, scope: str, lacking: str) -> None:
        problem = refused(Module("acme", scope=scope).post({"type": "ops.noop"}), 403, "missing_scope")
        assert problem["scope"] == lacking
        assert nothing_written(look)

    def test_reading_needs_its_scope_on_every_address(self, db: None) -> None:
        submitter, job_id = Module("acme", scope="jobs:submit"), admitted()
        for path in (JOBS, f"{JOBS}/{job_id}", f"{JOBS}/{job_id}/timeline", "/operations/job-types"):
            refused(submitter.get(path), 403, "missing_scope")


class TestReading:
    """One job, as it stands and as it came there."""

    def test_a_job_tells_how_it_ended_and_where_its_evidence_is(
        self, acme: Module, look: Look, control: Control
    ) -> None:
        job_id = admitted()
        with control():
            finish(claimed(job_id, worker_id=worker()), result={"artifacts": [], "metrics": {"rows": 1}})
        job = said(acme.get(f"{JOBS}/{job_id}"))
        assert (job["status"], job["outcome"], job["attempt"], job["retries"]) == ("succeeded", "succeeded", 1, 0)
        assert job["result"] == {"artifacts": [], "metrics": {"rows": 1}}
        assert job["submitted_at"] < job["started_at"] < job["finished_at"]
        record = only(look("SELECT * FROM evidence_records WHERE predicate = 'outcome'"))
        assert job["evidence"] == {"state": "pending", "ref": str(record["record_id"])}

    def test_evidence_that_its_sink_took_is_named_as_the_sink_names_it(
        self, acme: Module, control: Control, change: Change
    ) -> None:
        job_id = admitted()
        with control():
            finish(claimed(job_id, worker_id=worker()))
        change("UPDATE evidence_records SET number = 1 WHERE predicate = 'outcome'")
        change(
            "INSERT INTO evidence_emissions (emission_id, tenant_id, region, start, size, ref)"
            " VALUES (gen_random_uuid(), 'acme', 'local', 0, 2, 'sink/7')"
        )
        assert said(acme.get(f"{JOBS}/{job_id}"))["evidence"] == {"state": "emitted", "ref": "sink/7"}

    def test_a_job_that_will_be_tried_again_says_when_and_why(self, acme: Module, control: Control) -> None:
        job_id, error = admitted(), {"class": "E", "code": "e", "message": None}
        with control():
            finish(claimed(job_id, worker_id=worker()), Ending.FAILED, error=error, reason_code="e")
        job = said(acme.get(f"{JOBS}/{job_id}"))
        assert (job["status"], job["outcome"], job["retries"], job["error"], job["finished_at"]) == (
            "retrying",
            None,
            1,
            error,
            None,
        )
        assert re.fullmatch(INSTANT, job["next_attempt_at"])

    def test_a_jobs_story_is_told_in_order_with_every_dispatch(self, acme: Module, control: Control) -> None:
        job_id = admitted()
        with control():
            mine = worker()
            lost = claimed(job_id, worker_id=mine)
            finish(lost, Ending.WORKER_LOST, retry=AT_ONCE)
            finish(lost)
            release_due(limit=1)
            finish(claimed(job_id, worker_id=mine))
        body = said(acme.get(f"{JOBS}/{job_id}/timeline"))
        assert body["job_id"] == str(job_id)
        whats = [each["what"] for each in body["items"]]
        assert sorted(whats[1:3]) == ["decided", "decided"]
        assert whats[0] == "submitted"
        assert whats[3:] == [
            "dispatched",
            "started",
            "worker_lost",
            "finished_late",
            "dispatched",
            "started",
            "succeeded",
            "ended",
        ]
        times = [each["at"] for each in body["items"]]
        assert times == sorted(times)
        assert all(re.fullmatch(INSTANT, each) for each in times)

    def test_a_running_jobs_story_ends_with_its_start(self, acme: Module, control: Control) -> None:
        job_id = admitted()
        with control():
            claimed(job_id, worker_id=worker())
        items = said(acme.get(f"{JOBS}/{job_id}/timeline"))["items"]
        assert [each["what"] for each in items[-2:]] == ["dispatched", "started"]

    def test_what_can_run_is_listed_with_its_schema(self, acme: Module) -> None:
        items = {each["type"]: each for each in said(acme.get("/operations/job-types"))["items"]}
        assert set(items) == {each.name for each in REGISTRY if not each.internal}
        assert items["ops.sleep"]["params"]["required"] == ["seconds"]
        assert (items["kpi.refresh"]["contract"], items["ops.noop"]["contract"]) == ("required", "none")


class TestTheHistory:
    """Newest first, by filters, page by page, each job once."""

    def test_is_newest_first(self, acme: Module) -> None:
        ids = [str(admitted()) for _ in range(4)]
        assert acme.ids() == ids[::-1]
        assert said(acme.get(JOBS))["next"] is None

    def test_items_read_as_the_job_itself(self, acme: Module) -> None:
        job_id = admitted("ops.sleep", params={"seconds": 1})
        assert said(acme.get(JOBS))["items"] == [said(acme.get(f"{JOBS}/{job_id}"))]

    def test_is_filtered_by_type_status_and_tenant_alone_and_together(self, acme: Module, control: Control) -> None:
        noop, sleep = str(admitted()), str(admitted("ops.sleep", params={"seconds": 1}))
        with control():
            finish(claimed(UUID(noop), worker_id=worker()))
        assert acme.ids(type="ops.sleep") == [sleep]
        assert acme.ids(status="succeeded") == [noop]
        assert acme.ids(status="queued", type="ops.noop") == []
        assert acme.ids(status="queued", type="ops.sleep", tenant_id="acme") == [sleep]
        assert acme.ids(type="nobody.knows") == []

    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
    def test_pages_hold_every_job_once_whatever_comes_meanwhile(self, acme: Module, limit: int) -> None:
        ids = [str(admitted()) for _ in range(7)]
        seen: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = said(acme.get(JOBS, limit=limit, **cursor))
            assert len(page["items"]) <= limit
            seen += [each["job_id"] for each in page["items"]]
            if page["next"] is None:
                break
            cursor = {"cursor": page["next"]}
            admitted()
        assert seen == ids[::-1]

    @pytest.mark.parametrize(
        ("query", "named"),
        [
            ({"limit": "0"}, ["limit"]),
            ({"limit": "201"}, ["limit"]),
            ({"limit": "x"}, ["limit"]),
            ({"limit": "²"}, ["limit"]),
            ({"limit": ""}, ["limit"]),
            ({"limit": "-1"}, ["limit"]),
            ({"cursor": "x"}, ["cursor"]),
            ({"cursor": ""}, ["cursor"]),
            ({"status": "lost"}, ["status"]),
            ({"status": ""}, ["status"]),
            ({"status": "QUEUED"}, ["status"]),
            ({"stauts": "queued", "x": "1"}, ["stauts", "x"]),
            ({"type": ["a.b", "c.d"]}, ["type"]),
        ],
    )
    def test_a_filter_that_cannot_be_meant_is_refused_by_name(
        self, acme: Module, query: dict[str, Any], named: list[str]
    ) -> None:
        assert fields(refused(acme.get(JOBS, **query), 400, "invalid_fields")) == named

    def test_an_unknown_filter_is_refused_on_every_address(self, acme: Module) -> None:
        job_id = admitted()
        for path in (f"{JOBS}/{job_id}", f"{JOBS}/{job_id}/timeline", "/operations/job-types"):
            assert fields(refused(acme.get(path, x="1"), 400, "invalid_fields")) == ["x"]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_a_method_that_an_address_does_not_take_is_405(acme: Module, method: str) -> None:
    refused(acme.ask(method, JOBS), 405, "method_not_allowed")
