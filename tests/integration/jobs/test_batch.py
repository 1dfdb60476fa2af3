"""Batches: a thousand jobs in one transaction, each answered in its place."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest

from apps.core.authzen import DecisionPointAwayError
from apps.jobs import points
from apps.jobs.operations.submit import DecisionPoints
from tests.integration.conftest import Change, Look
from tests.support.api import JOBS, Module, fields, refused, said
from tests.support.work import only

NOOP = {"type": "ops.noop"}
BATCH = f"{JOBS}/batch"


def sent(module: Module, *jobs: Any, status: int = 202, **headers: str) -> list[dict[str, Any]]:
    return list(said(module.post({"jobs": list(jobs)}, path=BATCH, **headers), status)["results"])


def statuses(results: list[dict[str, Any]]) -> list[int]:
    return [each["status"] for each in results]


class Asked:
    """A decision point that counts what it is asked."""

    def __init__(self, point: Any) -> None:
        self.point, self.questions = point, Counter[Any]()

    def evaluate(self, question: Any) -> Any:
        self.questions[question] += 1
        return self.point.evaluate(question)


@pytest.fixture
def asked() -> Any:
    """Count the questions to both decision points."""
    before = points.in_force()
    made = DecisionPoints(governance=Asked(before.governance), subscription=Asked(before.subscription))
    points.install(made)
    yield made
    points.install(before)


class TestManyJobs:
    """Taken in order, in one transaction."""

    def test_each_is_answered_in_its_place_and_runs_as_if_it_had_come_alone(self, acme: Module, look: Look) -> None:
        wanted = [{**NOOP, "priority": word, "concurrency_key": word} for word in ("low", "critical", "normal")]
        results = sent(acme, *wanted)
        assert [set(each) for each in results] == [{"status", "job_id"}] * 3
        assert statuses(results) == [202] * 3
        for each, job in zip(results, wanted, strict=True):
            alone = said(acme.get(f"{JOBS}/{each['job_id']}"))
            assert {name: alone[name] for name in job} == job
            assert alone["status"] == "queued"
            assert all(made["allowed"] for made in alone["decision"].values())
        assert acme.ids() == [each["job_id"] for each in reversed(results)]
        for table, rows in {"events": 3, "evidence_records": 3, "decisions": 6}.items():
            assert only(look(f"SELECT count(*) FROM {table}"))["count"] == rows
        assert len(look("SELECT DISTINCT xmin::text FROM jobs")) == 1, "one transaction"

    def test_a_distinct_question_is_asked_once(self, acme: Module, asked: Any, look: Look) -> None:
        high = {**NOOP, "priority": "high"}
        sent(acme, NOOP, high, NOOP, high, {**NOOP, "params": {}})
        for point in (asked.governance, asked.subscription):
            assert sorted(point.questions.values()) == [1, 1]
        shared = look("SELECT decision_id, count(*) FROM decisions GROUP BY 1 ORDER BY 2")
        assert [row["count"] for row in shared] == [2, 2, 3, 3]

    @pytest.mark.alone
    def test_a_thousand_take_less_than_a_second_or_so(self, acme: Module, look: Look) -> None:
        jobs = [{"type": "ops.sleep", "params": {"seconds": 0}, "priority": "bulk"} for _ in range(1000)]
        sent(acme, NOOP)
        began = time.monotonic()
        results = sent(acme, *jobs)
        took_s = time.monotonic() - began
        assert statuses(results) == [202] * 1000
        assert only(look("SELECT count(*) FROM jobs WHERE priority = 4"))["count"] == 1000
        print(f"1,000 jobs in {took_s * 1000:.0f} ms")
        assert took_s < 3, "one statement writes them; a statement a job would take longer even here"


class TestWhatIsWrongWithOne:
    """Told in its place; the others go in."""

    def test_is_a_problem_in_its_place(self, acme: Module, look: Look, change: Change) -> None:
        results = sent(
            acme,
            NOOP,
            {"type": "none"},
            {"type": "ops.noop", "prams": {}},
            "job",
            {**NOOP, "environment": "moon"},
            {**NOOP, "tenant_id": "globex"},
            {"type": "kpi.refresh"},
            NOOP,
        )
        assert statuses(results) == [202, 400, 400, 400, 400, 404, 403, 202]
        assert [each.get("code") for each in results] == [
            None, "invalid_fields", "invalid_fields", "invalid_fields", "invalid_fields", "not_found",
            "contract_required", None,
        ]  # fmt: skip
        assert [fields(each) for each in results[1:3]] == [["type"], ["prams"]]
        assert fields(results[4]) == ["environment"]
        assert said(acme.get(f"{JOBS}/{results[6]['job_id']}"))["status"] == "rejected"
        assert {row["tenant_id"] for row in look("SELECT tenant_id FROM jobs")} == {"acme"}

    @pytest.mark.parametrize(("limit", "code"), [("backlog_cap", "backlog_full"), ("jobs_per_day", "jobs_per_day")])
    def test_limits_count_the_batchs_own_jobs(self, acme: Module, change: Change, limit: str, code: str) -> None:
        sent(acme, NOOP)
        change(f"UPDATE plans SET {limit} = 3")
        results = sent(acme, NOOP, {"type": "none"}, NOOP, NOOP, {**NOOP, "priority": "high"})
        assert statuses(results) == [202, 400, 202, 429, 429]
        assert {each["code"] for each in results[3:]} == {code}
        assert all(each["retry_after_s"] >= 1 and each["job_id"] for each in results[3:])

    def test_a_decision_point_that_is_away_leaves_nothing_of_the_whole(
        self, acme: Module, look: Look, asked: Any
    ) -> None:
        class Away:
            def evaluate(self, question: Any) -> Any:
                if question.priority == "high":
                    raise DecisionPointAwayError(point="Subscription", retry_after_s=7)
                return asked.subscription.evaluate(question)

        points.install(DecisionPoints(governance=asked.governance, subscription=Away()))
        answer = acme.post({"jobs": [NOOP, {**NOOP, "priority": "high"}]}, path=BATCH)
        refused(answer, 503, "decision_point_away")
        assert answer["Retry-After"] == "7"
        assert look("SELECT 1 FROM jobs") == []


class TestTenants:
    """Each job in its own tenant's context, all in one transaction."""

    def test_a_platform_module_submits_for_several_at_once(self, platform: Module, look: Look) -> None:
        names = ["globex", "acme", "nobody", "sandbox", "acme"]
        results = sent(platform, *({**NOOP, "tenant_id": name} for name in names))
        assert statuses(results) == [202, 202, 404, 202, 202]
        rows = {str(row["job_id"]): row for row in look("SELECT job_id, tenant_id, xmin::text AS born FROM jobs")}
        assert [rows[each["job_id"]]["tenant_id"] for each in results if "job_id" in each] == [
            name for name in names if name != "nobody"
        ]

    def test_breaks_off_for_all_of_them(self, platform: Module, look: Look, change: Change) -> None:
        change("ALTER TABLE jobs ADD CONSTRAINT breaks CHECK (tenant_id <> 'globex')")
        try:
            with pytest.raises(Exception, match="breaks"):
                sent(platform, *({**NOOP, "tenant_id": name} for name in ("acme", "globex")))
        finally:
            change("ALTER TABLE jobs DROP CONSTRAINT breaks")
        assert look("SELECT 1 FROM jobs") == []

    def test_names_them_when_the_token_names_several(self, look: Look) -> None:
        results = sent(Module("acme", "globex"), NOOP, {**NOOP, "tenant_id": "acme"}, {**NOOP, "tenant_id": "sandbox"})
        assert [(each["status"], each.get("code")) for each in results] == [
            (400, "tenant_required"),
            (202, None),
            (404, "not_found"),
        ]

    def test_a_key_is_of_one_tenant(self, platform: Module, look: Look) -> None:
        jobs = [{**NOOP, "tenant_id": name} for name in ("acme", "globex")]
        answer = platform.post({"jobs": jobs}, path=BATCH, **{"Idempotency-Key": "k"})
        refused(answer, 400, "invalid_idempotency_key")
        assert look("SELECT 1 FROM jobs") == []


class TestWhatIsNoBatch:
    """Refused whole."""

    @pytest.mark.parametrize(
        ("body", "named"),
        [
            ({}, ["jobs"]),
            ({"jobs": []}, ["jobs"]),
            ({"jobs": [NOOP] * 1001}, ["jobs"]),
            ({"jobs": NOOP}, ["jobs"]),
            ({"jobs": None}, ["jobs"]),
            ({"jobs": [NOOP], "atomic": True}, ["atomic"]),
        ],
        ids=["nothing", "none", "too many", "one", "null", "an unknown field"],
    )
    def test_is_refused_by_name(self, acme: Module, look: Look, body: Any, named: list[str]) -> None:
        assert fields(refused(acme.post(body, path=BATCH), 400, "invalid_fields")) == named
        assert look("SELECT 1 FROM jobs") == []

    def test_its_body_may_be_twenty_times_a_jobs(self, acme: Module) -> None:
        large = {"type": "ops.sleep", "params": {"seconds": 0, "x": "y" * 16_000}}
        assert statuses(sent(acme, *[large] * 100)) == [400] * 100, "more than a mebibyte, and read"
        refused(acme.post(b" " * (20 * 2**20 + 1), path=BATCH), 413, "payload_too_large")

    def test_it_needs_the_scope_of_submitting(self, db: None) -> None:
        reader = Module("acme", scope="jobs:read")
        assert refused(reader.post({"jobs": [NOOP]}, path=BATCH), 403, "missing_scope")["scope"] == "jobs:submit"
