"""Cancel, retry, reprioritize over HTTP: who may, what is answered, what is refused."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.integration.conftest import Change
from tests.support.api import JOBS, Module, fields, refused, said
from tests.support.work import admitted

VERBS = ("cancel", "retry", "reprioritize")
BODY = {"cancel": {}, "retry": {}, "reprioritize": {"priority": "high"}}


def test_cancel_answers_with_the_job_and_twice_is_refused_with_its_status(acme: Module) -> None:
    path = f"{JOBS}/{admitted()}/cancel"
    job = said(acme.post({"reason": "a mistake"}, path=path), 202)
    assert (job["status"], job["cancel_reason"]) == ("cancelled", "a mistake")
    assert job["cancel_requested_by"] == job["cancel_requested_by"].strip()
    assert refused(acme.post({}, path=path), 409, "not_cancellable")["job_status"] == "cancelled"


def test_a_cancelled_job_is_retried_and_a_queued_one_is_not(acme: Module) -> None:
    job_id = admitted()
    assert refused(acme.post({}, path=f"{JOBS}/{job_id}/retry"), 409, "not_retryable")["job_status"] == "queued"
    acme.post({}, path=f"{JOBS}/{job_id}/cancel")
    assert said(acme.post({}, path=f"{JOBS}/{job_id}/retry"), 202)["status"] == "queued"


def test_a_retry_that_is_refused_leaves_the_job_cancelled(acme: Module, change: Change) -> None:
    job_id = admitted()
    acme.post({}, path=f"{JOBS}/{job_id}/cancel")
    change("DELETE FROM subscriptions WHERE tenant_id = 'acme'")
    answer = acme.post({}, path=f"{JOBS}/{job_id}/retry")
    assert answer.status_code == 403
    assert said(acme.get(f"{JOBS}/{job_id}"))["status"] == "cancelled"


def test_reprioritize_moves_a_waiting_job_only(acme: Module) -> None:
    path = f"{JOBS}/{admitted()}"
    assert said(acme.post({"priority": "bulk"}, path=f"{path}/reprioritize"), 202)["priority"] == "bulk"
    acme.post({}, path=f"{path}/cancel")
    refused(acme.post({"priority": "high"}, path=f"{path}/reprioritize"), 409, "not_waiting")


@pytest.mark.parametrize("verb", VERBS)
def test_anothers_job_does_not_exist(globex: Module, acme: Module, verb: str) -> None:
    job_id = admitted()
    refused(globex.post(BODY[verb], path=f"{JOBS}/{job_id}/{verb}"), 404, "not_found")
    refused(acme.post(BODY[verb], path=f"{JOBS}/{uuid4()}/{verb}"), 404, "not_found")
    assert said(acme.get(f"{JOBS}/{job_id}"))["status"] == "queued"


@pytest.mark.parametrize("verb", VERBS)
def test_the_scope_is_needed(db: None, verb: str) -> None:
    reader = Module("acme", scope="jobs:read jobs:submit")
    refused(reader.post(BODY[verb], path=f"{JOBS}/{admitted()}/{verb}"), 403, "missing_scope")


@pytest.mark.parametrize("verb", VERBS)
def test_a_platform_module_may(platform: Module, verb: str) -> None:
    job_id = admitted()
    if verb == "retry":
        said(platform.post({}, path=f"{JOBS}/{job_id}/cancel"), 202)
    said(platform.post(BODY[verb], path=f"{JOBS}/{job_id}/{verb}"), 202)


@pytest.mark.parametrize(
    ("verb", "body", "named"),
    [
        ("cancel", {"reason": "x" * 201}, "reason"),
        ("cancel", {"why": "x"}, "why"),
        ("retry", {"force": True}, "force"),
        ("reprioritize", {"priority": "urgent"}, "priority"),
        ("reprioritize", {}, "priority"),
    ],
)
def test_a_body_that_is_not_as_it_must_be_is_named(
    acme: Module, verb: str, body: dict[str, object], named: str
) -> None:
    problem = refused(acme.post(body, path=f"{JOBS}/{admitted()}/{verb}"), 400, "invalid_fields")
    assert fields(problem) == [named]


@pytest.mark.parametrize(
    ("retry", "named"),
    [
        ({"max_attempts": 0}, "retry.max_attempts"),
        ({"backoff": "never"}, "retry.backoff"),
        ({"initial_s": 500}, "retry"),
        ({"tries": 3}, "retry.tries"),
        ({"non_retryable": ["Not a code"]}, "retry.non_retryable.0"),
    ],
)
def test_a_policy_that_makes_no_sense_is_named(acme: Module, retry: dict[str, object], named: str) -> None:
    problem = refused(acme.post({"type": "ops.noop", "retry": retry}), 400, "invalid_fields")
    assert fields(problem) == [named]


def test_a_jobs_own_policy_is_told_whole(acme: Module) -> None:
    job = said(acme.post({"type": "ops.noop", "retry": {"max_attempts": 7}, "start_by_s": 60, "deadline_s": 90}), 202)
    assert (job["max_attempts"], job["retry"]["max_attempts"], job["retry"]["backoff"]) == (7, 7, "exponential")
    assert (job["start_by_s"], job["deadline_s"]) == (60, 90)
    assert job["start_by"] < job["deadline_at"]


@pytest.mark.parametrize("verb", ["cancel", "retry"])
def test_the_body_may_be_left_out(acme: Module, verb: str) -> None:
    job_id = admitted()
    if verb == "retry":
        said(acme.post(b"", path=f"{JOBS}/{job_id}/cancel"), 202)
    said(acme.post(b"", path=f"{JOBS}/{job_id}/{verb}"), 202)
