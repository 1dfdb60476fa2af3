"""Submitting over HTTP, to the contract's letter: the job's shape, what is refused and by which name."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.integration.conftest import Change, Look
from tests.support.api import INSTANT, JOBS, Module, fields, refused, said
from tests.support.work import only

# The contract's §3, 'A job as read has at least'.
AT_LEAST = """
job_id tenant_id type status outcome retries started_at finished_at submitted_at queued_at priority environment contract
attempt max_attempts progress error evidence decision links
"""


def nothing_written(look: Look) -> bool:
    return bool(only(look("SELECT (SELECT count(*) FROM jobs) + (SELECT count(*) FROM events) AS rows"))["rows"] == 0)


class TestSubmitting:
    """202, where to find it, and the job."""

    def test_is_answered_with_the_job_and_where_it_is_found(self, acme: Module) -> None:
        answer = acme.post({"type": "ops.noop"})
        job = said(answer, 202)
        assert answer["Location"] == f"/operations/jobs/{job['job_id']}" == job["links"]["self"]
        assert said(acme.get(answer["Location"])) == job

    def test_the_job_has_everything_that_the_contract_names(self, acme: Module) -> None:
        job = said(acme.post({"type": "ops.noop"}), 202)
        assert set(job) >= set(AT_LEAST.split())
        expected = {
            "tenant_id": "acme",
            "type": "ops.noop",
            "status": "queued",
            "outcome": None,
            "retries": 0,
            "attempt": 0,
            "max_attempts": 3,
            "started_at": None,
            "finished_at": None,
            "priority": "normal",
            "environment": "default",
            "contract": None,
            "progress": None,
            "error": None,
            "params": {},
            "trigger": "user",
            "submitted_by": "data-acquisition",
            "evidence": {"state": None, "ref": None},
        }
        assert {name: job[name] for name in expected} == expected
        assert UUID(job["job_id"]).version == 7
        assert re.fullmatch(INSTANT, job["submitted_at"])
        assert re.fullmatch(INSTANT, job["queued_at"])
        assert {point: made["reason_code"] for point, made in job["decision"].items()} == {
            "governance": "allowed",
            "subscription": "entitled",
        }
        assert all(len(made["decision_id"]) == 36 and made["allowed"] for made in job["decision"].values())

    def test_every_field_of_the_contract_is_taken(self, acme: Module) -> None:
        asked = {
            "type": "kpi.refresh",
            "tenant_id": "acme",
            "params": {"period": "2012"},
            "contract": "kpi.seattle-rain@1",
            "priority": "critical",
            "depends_on": None,
            "run_at": None,
            "timeout_s": 60,
            "concurrency_key": "rain",
            "environment": "batch",
            "trigger": "schedule",
        }
        job = said(acme.post(asked), 202)
        assert {name: job[name] for name in asked if name != "depends_on"} == {
            name: value for name, value in asked.items() if name != "depends_on"
        }

    def test_for_later_it_is_scheduled(self, acme: Module) -> None:
        later = (datetime.now(tz=UTC) + timedelta(hours=1)).replace(microsecond=0)
        job = said(acme.post({"type": "ops.noop", "run_at": later.isoformat()}), 202)
        assert (job["status"], job["run_at"], job["queued_at"]) == (
            "scheduled",
            later.isoformat().replace("+00:00", "Z"),
            None,
        )

    @pytest.mark.parametrize("offered", ["req-1", "0198f3a2-7b1c-7d3e-8f4a-5b6c7d8e9f00"])
    def test_the_callers_request_id_comes_back(self, acme: Module, offered: str) -> None:
        assert acme.post({"type": "ops.noop"}, **{"X-Request-Id": offered})["X-Request-Id"] == offered


DEEP = b'{"type": "ops.noop", "params": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}"

# what is wrong, the body, the fields that the 400 must name
BAD = [
    ("no type", {}, ["type"]),
    ("an unknown type", {"type": "ops.none"}, ["type"]),
    ("a type that is a number", {"type": 7}, ["type"]),
    ("a type that is null", {"type": None}, ["type"]),
    ("a type without end", {"type": "o" * 65}, ["type"]),
    ("an unknown field", {"type": "ops.noop", "prams": {}}, ["prams"]),
    ("two unknown fields and a bad one", {"type": "ops.noop", "a": 1, "b": 1, "timeout_s": 0}, ["a", "b", "timeout_s"]),
    (
        "a field that only the plane writes",
        {"type": "ops.noop", "status": "succeeded", "fence": 9},
        ["fence", "status"],
    ),
    ("params that are a list", {"type": "ops.noop", "params": []}, ["params"]),
    ("params that are null", {"type": "ops.noop", "params": None}, ["params"]),
    ("a param nobody knows", {"type": "ops.sleep", "params": {"seconds": 1, "x": 1}}, ["params.x"]),
    ("a param missing", {"type": "ops.sleep", "params": {}}, ["params.seconds"]),
    ("a param of the wrong type", {"type": "ops.sleep", "params": {"seconds": "1"}}, ["params.seconds"]),
    ("a param out of bounds", {"type": "ops.sleep", "params": {"seconds": -1}}, ["params.seconds"]),
    ("params over 16 KiB", {"type": "ops.noop", "params": {"x": "y" * 16 * 1024}}, ["params"]),
    ("an unknown priority", {"type": "ops.noop", "priority": "urgent"}, ["priority"]),
    ("a priority by number", {"type": "ops.noop", "priority": 0}, ["priority"]),
    ("an unknown trigger", {"type": "ops.noop", "trigger": "cron"}, ["trigger"]),
    ("no time at all", {"type": "ops.noop", "timeout_s": 0}, ["timeout_s"]),
    ("more time than a week", {"type": "ops.noop", "timeout_s": 604_801}, ["timeout_s"]),
    ("half a second", {"type": "ops.noop", "timeout_s": 0.5}, ["timeout_s"]),
    ("a time that is none", {"type": "ops.noop", "run_at": "soon"}, ["run_at"]),
    ("a time out of this world", {"type": "ops.noop", "run_at": "0001-01-01T00:00:00+14:00"}, ["run_at"]),
    ("an environment that is not there", {"type": "ops.noop", "environment": "moon"}, ["environment"]),
    ("an environment that is no name", {"type": "ops.noop", "environment": "../etc"}, ["environment"]),
    ("a contract where none is taken", {"type": "ops.noop", "contract": "kpi.seattle-rain@1"}, ["contract"]),
    ("a contract without end", {"type": "kpi.refresh", "contract": "k" * 121}, ["contract"]),
    (
        "dependencies, which this version does not serve",
        {"type": "ops.noop", "depends_on": {"jobs": []}},
        ["depends_on"],
    ),
    ("a concurrency key without end", {"type": "ops.noop", "concurrency_key": "k" * 129}, ["concurrency_key"]),
    ("a list", [], ["body"]),
    ("text", "job", ["body"]),
    ("null", None, ["body"]),
    ("no JSON", b"{", ["body"]),
    ("nothing", b"", ["type"]),
    ("the same name twice", b'{"type": "ops.noop", "type": "ops.crash"}', ["type"]),
    ("NaN", b'{"type": "ops.noop", "params": {"a": NaN}}', ["params.a"]),
    ("a number without end", b'{"type": "ops.noop", "timeout_s": ' + b"9" * 5000 + b"}", ["timeout_s"]),
    ("a number beyond 64 bits", b'{"type": "ops.noop", "timeout_s": 18446744073709551616}', ["timeout_s"]),
    ("a NUL", b'{"type": "ops.noop", "concurrency_key": "a\\u0000"}', ["concurrency_key"]),
    ("half a character", b'{"type": "ops.noop", "concurrency_key": "\\ud800"}', ["concurrency_key"]),
    ("a depth without end", DEEP, ["body"]),
    ("not UTF-8", b'{"type": "\xff"}', ["body"]),
]


class TestWhatCannotBeUnderstood:
    """400, by name, and nothing is written."""

    @pytest.mark.parametrize(("what", "body", "named"), BAD, ids=[each[0] for each in BAD])
    def test_is_refused_by_the_names_of_its_fields(
        self, acme: Module, look: Look, what: str, body: Any, named: list[str]
    ) -> None:
        unreadable = not isinstance(body, dict) and body != b""
        problem = refused(acme.post(body), 400, "invalid_json" if unreadable else "invalid_fields")
        assert fields(problem) == named
        assert nothing_written(look)

    def test_a_body_of_more_than_a_mebibyte_is_too_large(self, acme: Module, look: Look) -> None:
        refused(acme.post(b" " * 2**20 + b"{}"), 413, "payload_too_large")
        assert nothing_written(look)

    @pytest.mark.parametrize(
        "path",
        ["x", "0198f3a2", "0198f3a27b1c7d3e8f4a5b6c7d8e9f00", "{0198f3a2-7b1c-7d3e-8f4a-5b6c7d8e9f00}", "%00", "..%2f"],
    )
    def test_an_id_that_is_none_finds_nothing(self, acme: Module, path: str) -> None:
        answer = acme.get(f"{JOBS}/{path}")
        assert answer.status_code in {400, 404}
        assert json.loads(answer.content)["status"] == answer.status_code


class TestRefusals:
    """403, or 429 with `Retry-After` where it clears by itself; the job is kept and the answer says which."""

    @pytest.mark.parametrize(
        ("body", "before", "status", "code", "point"),
        [
            ({"type": "kpi.refresh"}, None, 403, "contract_required", "governance"),
            ({"type": "kpi.refresh", "contract": "kpi.none@1"}, None, 403, "contract_unknown", "governance"),
            (
                {"type": "ops.noop"},
                "UPDATE tenants SET state = 'suspended' WHERE tenant_id = 'acme'",
                403,
                "tenant_not_active",
                "governance",
            ),
            ({"type": "ops.noop"}, "UPDATE plans SET job_types = '{}'", 403, "not_entitled", "subscription"),
            ({"type": "ops.noop"}, "UPDATE plans SET backlog_cap = 0", 429, "backlog_full", "subscription"),
            ({"type": "ops.noop"}, "UPDATE plans SET jobs_per_day = 0", 429, "jobs_per_day", "subscription"),
        ],
        ids=lambda value: value if isinstance(value, str) and " " not in value else "",
    )
    def test_say_why_by_whose_decision_and_keep_the_job(
        self,
        acme: Module,
        look: Look,
        change: Change,
        body: dict[str, Any],
        before: str | None,
        status: int,
        code: str,
        point: str,
    ) -> None:
        if before:
            change(before)
        answer = acme.post(body)
        problem = refused(answer, status, code)
        assert problem["reason"]
        assert problem["refused_by"] == point
        assert only(look("SELECT job_id FROM decisions WHERE decision_id = %s", UUID(problem["decision_id"])))
        assert ("Retry-After" in answer) is (status == 429)
        if status == 429:
            assert int(answer["Retry-After"]) >= 1
        job = said(acme.get(f"{JOBS}/{problem['job_id']}"))
        assert (job["status"], job["outcome"], job["reason_code"]) == ("rejected", "rejected", code)
        assert (job["error"]["code"], job["error"]["message"]) == (code, problem["reason"])
        assert job["evidence"]["state"] == "pending"
        assert only(look("SELECT predicate FROM evidence_records WHERE record_id = %s", UUID(job["evidence"]["ref"])))
        assert acme.ids(status="rejected") == [problem["job_id"]]
