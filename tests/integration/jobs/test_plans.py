"""Plans: a contract's steps as jobs, made together, ended together, and tried again without what succeeded."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from apps.jobs.lifecycle import Ending
from apps.jobs.operations import recover
from apps.jobs.retry import Retry
from tests.integration.conftest import Change, Control, Look
from tests.integration.jobs.test_dependencies import told
from tests.support.api import JOBS, Module, fields, refused, said
from tests.support.work import claimed, finish, only, worker

RUN = {"type": "contract.run", "contract": "rain@1"}
INGEST = {"name": "ingest", "type": "ingest.file", "params": {"source": "in.csv", "dataset": "rain"}}
SQL = {
    "name": "monthly",
    "type": "sql.transform",
    "needs": ["ingest"],
    "params": {"inputs": {"t": "${steps.ingest.artifacts.dataset}"}, "sql": "SELECT 1", "output": "monthly"},
}
NOTE = {"name": "note", "type": "ops.noop", "needs": ["ingest", "monthly"], "rule": "all_done", "required": False}
MADE = {"artifacts": [{"name": "dataset", "uri": "file:///s/rain", "digest": "sha256:1", "bytes": 1, "rows": 1}]}


@pytest.fixture
def contract(change: Change) -> Any:
    """Return a maker of the contract rain@1."""
    import json  # noqa: PLC0415 - only here

    def make(*steps: Any, job_types: str = "{contract.run,ingest.*,sql.*,ops.*}") -> None:
        change(
            "INSERT INTO contracts (name, version, state, job_types, document, obligations, digest, created_at)"
            " VALUES ('rain', 1, 'active', %s, %s, '{}', 'sha256:0', clock_timestamp())",
            job_types,
            json.dumps({"plan": {"steps": list(steps or (INGEST, SQL, NOTE))}}),
        )

    return make


def run(acme: Module, **more: Any) -> tuple[str, dict[str, str]]:
    """Submit the plan; return its id and its steps' ids by name."""
    plan = said(acme.post({**RUN, **more}), 202)["job_id"]
    return plan, {job["step"]: job["job_id"] for job in children(acme, plan)}


def children(acme: Module, plan: str) -> list[dict[str, Any]]:
    return list(said(acme.get(JOBS, parent_id=plan))["items"])


def stand(acme: Module, *job_ids: str) -> list[str]:
    return [said(acme.get(f"{JOBS}/{job_id}"))["status"] for job_id in job_ids]


def end(control: Control, job_id: str, ending: Ending = Ending.SUCCEEDED, result: Any = None) -> None:
    with control():
        assert finish(claimed(UUID(job_id), worker_id=worker()), ending, permanent=True, result=result)
        told()


class TestASuccess:
    """From one submission to its end."""

    def test_runs_step_by_step_and_ends_with_the_last(
        self, acme: Module, contract: Any, control: Control, look: Look
    ) -> None:
        contract()
        plan, steps = run(acme, priority="high")
        read = said(acme.get(f"{JOBS}/{plan}"))
        assert (read["status"], read["parent_id"], read["links"]["children"]) == (
            "waiting_children",
            None,
            f"{JOBS}?parent_id={plan}",
        )
        assert len(look("SELECT DISTINCT xmin::text FROM jobs")) == 1, "one transaction"
        jobs = {job["step"]: job for job in children(acme, plan)}
        assert {job["parent_id"] for job in jobs.values()} == {plan}
        assert {job["priority"] for job in jobs.values()} == {"high"}
        assert jobs["note"]["depends_on"] == {"jobs": [steps["ingest"], steps["monthly"]], "rule": "all_done"}
        assert (jobs["ingest"]["contract"], jobs["note"]["contract"]) == ("rain@1", None), "a drill takes none"
        assert all(job["decision"]["governance"]["allowed"] for job in jobs.values())
        assert stand(acme, *steps.values()).count("blocked") == 2

        end(control, steps["ingest"], result=MADE)
        read = said(acme.get(f"{JOBS}/{plan}"))
        assert (read["status"], read["progress"]["done"], read["progress"]["total"]) == ("waiting_children", 1, 3)
        assert read["started_at"] is not None
        assert said(acme.get(f"{JOBS}/{steps['monthly']}"))["params"]["inputs"] == {"t": "file:///s/rain"}
        end(control, steps["monthly"])
        end(control, steps["note"])
        read = said(acme.get(f"{JOBS}/{plan}"))
        assert (read["status"], read["outcome"], read["attempt"]) == ("succeeded", "succeeded", 0)
        completed = look("SELECT subject, data FROM events WHERE type = 'operations.job.completed'")
        assert {row["subject"]: row["data"].get("parent_id") for row in completed} == {
            plan: None,
            **dict.fromkeys(steps.values(), plan),
        }
        assert len(completed) == 4
        proofs = look("SELECT 1 FROM evidence_records WHERE subject_id = %s AND predicate = 'outcome'", plan)
        assert len(proofs) == 1

    def test_the_resolved_params_are_what_the_evidence_is_about(
        self, acme: Module, contract: Any, control: Control, look: Look
    ) -> None:
        contract()
        _, steps = run(acme)
        before = only(look("SELECT params_digest FROM jobs WHERE job_id = %s", steps["monthly"]))
        end(control, steps["ingest"], result=MADE)
        assert only(look("SELECT params_digest FROM jobs WHERE job_id = %s", steps["monthly"])) != before

    def test_what_the_whole_waits_for_its_first_steps_wait_for(
        self, acme: Module, contract: Any, control: Control
    ) -> None:
        contract()
        upstream = said(acme.post({"type": "ops.noop"}), 202)["job_id"]
        _, steps = run(acme, depends_on={"jobs": [upstream]}, run_at="2099-01-01T00:00:00Z")
        assert stand(acme, steps["ingest"]) == ["blocked"]
        end(control, upstream)
        assert stand(acme, steps["ingest"], steps["monthly"]) == ["scheduled", "blocked"]


class TestAFailure:
    """The first failing step is named; the others end by their rules."""

    def test_names_its_first_failing_step(self, acme: Module, contract: Any, control: Control) -> None:
        contract()
        plan, steps = run(acme)
        end(control, steps["ingest"], Ending.FAILED)
        assert stand(acme, plan, *[steps[name] for name in ("ingest", "monthly", "note")]) == [
            "waiting_children", "failed", "cancelled", "queued",
        ]  # fmt: skip
        end(control, steps["note"])
        read = said(acme.get(f"{JOBS}/{plan}"))
        assert (read["status"], read["reason_code"], read["error"]["step"]) == ("failed", "step_failed", "ingest")

    def test_an_artifact_that_was_not_made_ends_the_step_that_refers_to_it(
        self, acme: Module, contract: Any, control: Control
    ) -> None:
        contract(INGEST, SQL)
        plan, steps = run(acme)
        end(control, steps["ingest"], result={"artifacts": []})
        step = said(acme.get(f"{JOBS}/{steps['monthly']}"))
        assert (step["status"], step["reason_code"]) == ("cancelled", "reference_unresolved")
        assert said(acme.get(f"{JOBS}/{plan}"))["error"]["step"] == "monthly"

    def test_is_tried_again_without_what_succeeded(
        self, acme: Module, contract: Any, control: Control, look: Look
    ) -> None:
        contract()
        plan, steps = run(acme)
        end(control, steps["ingest"], result=MADE)
        end(control, steps["monthly"], Ending.FAILED)
        end(control, steps["note"])
        assert stand(acme, plan) == ["failed"]
        refused(acme.ask("POST", f"{JOBS}/{steps['monthly']}/retry"), 409, "not_retryable")
        again = said(acme.ask("POST", f"{JOBS}/{plan}/retry"), 202)
        assert again["status"] == "waiting_children"
        with control():
            told()
        assert stand(acme, steps["ingest"], steps["monthly"], steps["note"]) == ["succeeded", "queued", "succeeded"]
        assert said(acme.get(f"{JOBS}/{plan}"))["progress"]["done"] == 2
        end(control, steps["monthly"])
        assert stand(acme, plan) == ["succeeded"]
        runs = look("SELECT job_id::text, count(*) FROM attempts WHERE ending = 'succeeded' GROUP BY 1")
        assert {row["job_id"]: row["count"] for row in runs} == dict.fromkeys(steps.values(), 1)

    def test_tried_again_its_later_steps_wait_again(self, acme: Module, contract: Any, control: Control) -> None:
        contract(INGEST, SQL)
        plan, steps = run(acme)
        end(control, steps["ingest"], Ending.FAILED)
        assert stand(acme, plan, steps["monthly"]) == ["failed", "cancelled"]
        said(acme.ask("POST", f"{JOBS}/{plan}/retry"), 202)
        with control():
            told()
        assert stand(acme, plan, steps["ingest"], steps["monthly"]) == ["waiting_children", "queued", "blocked"]
        end(control, steps["ingest"], result=MADE)
        end(control, steps["monthly"])
        assert stand(acme, plan) == ["succeeded"]


class TestBeingStopped:
    """What ends the whole ends its steps."""

    def test_cancelled_it_cancels_what_is_left(self, acme: Module, contract: Any, control: Control, look: Look) -> None:
        contract({"name": "one", "type": "ops.noop"}, {"name": "two", "type": "ops.noop"}, INGEST, SQL)
        plan, steps = run(acme)
        end(control, steps["one"])
        with control():
            claimed(UUID(steps["two"]), worker_id=worker())
        said(acme.ask("POST", f"{JOBS}/{plan}/cancel"), 202)
        with control():
            told()
        assert stand(acme, plan, *(steps[name] for name in ("one", "two", "ingest", "monthly"))) == [
            "cancelled", "succeeded", "running", "cancelled", "cancelled",
        ]  # fmt: skip
        row = only(look("SELECT cancel_requested_at, cancel_requested_by FROM jobs WHERE job_id = %s", steps["two"]))
        assert row["cancel_requested_at"] is not None
        assert row["cancel_requested_by"] == "operations"
        problem = refused(acme.ask("POST", f"{JOBS}/{plan}/retry"), 409, "not_retryable")
        assert "still being stopped" in problem["detail"]

    def test_past_its_deadline_it_does_too(self, acme: Module, contract: Any, control: Control, change: Change) -> None:
        contract(INGEST, SQL)
        plan, steps = run(acme, deadline_s=60)
        change("UPDATE jobs SET deadline_at = clock_timestamp() - interval '1 s' WHERE job_id = %s", plan)
        with control():
            recover.end_overdue(retry_of=lambda _: Retry())
            told()
        assert stand(acme, plan, *steps.values()) == ["timed_out", "cancelled", "cancelled"]


class TestWhatIsRefused:
    """Whole, by name, with nothing half-written."""

    def test_a_step_that_is_not_entitled_refuses_the_whole(self, acme: Module, contract: Any, look: Look) -> None:
        contract(job_types="{contract.run,ingest.*}")
        problem = refused(acme.post(RUN), 403, "contract_other_type")
        assert "step 'monthly'" in problem["reason"]
        row = only(look("SELECT job_id::text, status FROM jobs"))
        assert row == {"job_id": problem["job_id"], "status": "rejected"}

    @pytest.mark.parametrize(
        ("step", "said_of_it"),
        [
            ({"name": "x", "type": "no.such"}, "no job type is called"),
            ({"name": "x", "type": "contract.run"}, "a plan has no plans"),
            ({"name": "x", "type": "ingest.file", "params": {"source": "a"}}, "params.dataset is required"),
        ],
    )
    def test_a_plan_that_cannot_run(self, acme: Module, contract: Any, look: Look, step: Any, said_of_it: str) -> None:
        contract(step)
        problem = refused(acme.post(RUN), 400, "invalid_fields")
        assert fields(problem) == ["contract"]
        assert said_of_it in problem["errors"][0]["message"]
        results = said(acme.post({"jobs": [RUN, {"type": "ops.noop"}]}, path=f"{JOBS}/batch"), 202)["results"]
        assert [each["status"] for each in results] == [400, 202]
        assert len(look("SELECT 1 FROM jobs")) == 1

    def test_what_is_not_a_plans(self, acme: Module, contract: Any) -> None:
        contract()
        asked = {**RUN, "timeout_s": 5, "concurrency_key": "k", "retry": {"max_attempts": 1}}
        problem = refused(acme.post(asked), 400, "invalid_fields")
        assert fields(problem) == ["concurrency_key", "retry", "timeout_s"]

    def test_without_a_contract(self, acme: Module) -> None:
        refused(acme.post({"type": "contract.run"}), 403, "contract_required")
        refused(acme.post({**RUN, "contract": "none@1"}), 403, "contract_unknown")
