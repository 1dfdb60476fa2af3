"""Callbacks: a module that answered "not yet" is asked again as soon as it says so, once a wait; no other job is."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction

from apps.core.ids import uuid7
from apps.jobs import callbacks
from apps.jobs.lifecycle import Ending
from apps.jobs.operations.control import cancel
from apps.jobs.operations.dispatch import dispatch, release_due
from apps.jobs.operations.run import Claimed
from apps.jobs.retry import Retry
from apps.tenancy import keys
from apps.tenancy.context import in_tenant
from tests.integration.conftest import Change, Control, Look
from tests.support.api import Module, client, refused
from tests.support.client import wait_for
from tests.support.rows import attempts, job
from tests.support.work import admitted, claimed, finish, offered, only, worker

CALL = {"url": "http://module.example.org/", "secret": "module"}
POLICY = Retry(max_attempts=20, backoff="none", initial_s=0, jitter=0)
LONG_S = 300
WAITS_FOR_A_LOCK = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%%nudged_at%%'"


def token_of(job_id: UUID, *, tenant: str = "acme") -> str:
    return callbacks.token(job_id=str(job_id), tenant_id=tenant, key=keys.message_key())


def call_back(token: str, body: bytes = b"", **headers: str) -> Any:
    """Call back as a module does: by the address alone."""
    return client().generic("POST", f"/operations/callbacks/{token}", body, headers=headers)


def not_yet(run: Claimed, *, code: str = "not_yet", retry_after_s: float = LONG_S) -> None:
    """End an attempt as `http.call` does when the module answers 202."""
    error = {"class": "RetryableError", "code": code}
    finish(run, Ending.FAILED, retry=POLICY, reason_code=code, error=error, retry_after_s=retry_after_s)


def waiting(control: Control, **more: Any) -> UUID:
    """Return a job that waits for its module's answer for a long time."""
    job_id = admitted("http.call", params=CALL)
    with control():
        not_yet(claimed(job_id, worker_id=worker()), **more)
    return job_id


def aged(change: Change, job_id: UUID, *, seconds: int = 60) -> None:
    """Let the attempt have begun earlier."""
    change(f"UPDATE jobs SET started_at = started_at - interval '{seconds} s' WHERE job_id = %s", job_id)


class TestAWait:
    """A job that waits for its module's answer."""

    def test_a_callback_ends_it(self, look: Look, change: Change, control: Control) -> None:
        job_id = waiting(control)
        aged(change, job_id)
        with control():
            assert release_due(limit=10) == 0, "its pause is long"
        answer = call_back(token_of(job_id))
        assert (answer.status_code, answer.content) == (202, b"")
        with control():
            assert release_due(limit=10) == 1
        assert job(look, job_id)["status"] == "queued"

    def test_no_attempt_begins_within_a_second_of_the_one_before(self, look: Look, control: Control) -> None:
        job_id = waiting(control)
        call_back(token_of(job_id))
        row = job(look, job_id)
        assert row["due_at"] == row["started_at"] + timedelta(seconds=1)

    def test_a_pause_that_is_shorter_stays(self, look: Look, control: Control) -> None:
        job_id = waiting(control, retry_after_s=0.001)
        due_at = job(look, job_id)["due_at"]
        call_back(token_of(job_id))
        assert job(look, job_id)["due_at"] == due_at

    def test_called_back_again_nothing_more_happens(self, look: Look, change: Change, control: Control) -> None:
        job_id = waiting(control)
        aged(change, job_id)
        call_back(token_of(job_id))
        once = job(look, job_id)
        assert call_back(token_of(job_id)).status_code == 202
        assert job(look, job_id) == once

    def test_the_next_wait_is_ended_by_the_next_callback(self, look: Look, change: Change, control: Control) -> None:
        job_id = waiting(control)
        aged(change, job_id)
        call_back(token_of(job_id))
        with control():
            release_due(limit=1)
            not_yet(claimed(job_id, worker_id=worker()))
        row = job(look, job_id)
        assert (row["due_at"] - row["started_at"]).total_seconds() >= LONG_S, "the first callback was about the first"
        call_back(token_of(job_id))
        assert job(look, job_id)["due_at"] == row["started_at"] + timedelta(seconds=1)

    def test_a_pause_for_any_other_reason_is_kept(self, look: Look, control: Control) -> None:
        job_id = waiting(control, code="http_503")
        before = job(look, job_id)
        assert call_back(token_of(job_id)).status_code == 202
        assert job(look, job_id) == before

    def test_its_story_tells_of_it(self, look: Look, change: Change, control: Control, acme: Module) -> None:
        job_id = waiting(control)
        aged(change, job_id)
        call_back(token_of(job_id))
        with control():
            release_due(limit=1)
        items = acme.get(f"/operations/jobs/{job_id}/timeline").json()["items"]
        assert [each["what"] for each in items][-2:] == ["called_back", "waiting"]
        assert items[-1]["at"] == items[-2]["at"], "it waits for its turn since it was called back"
        (waits,) = [acme.get(f"/operations/jobs/{job_id}/why").json()["waits"]]
        assert [each["gate"] for each in waits["parts"]][-2:] == ["retry_pause", "turn"]


class TestWhileItRuns:
    """A module may be faster than the plane writes."""

    def test_a_callback_before_the_answer_is_written_is_not_lost(
        self, look: Look, change: Change, control: Control
    ) -> None:
        job_id = admitted("http.call", params=CALL)
        with control():
            run = claimed(job_id, worker_id=worker())
            aged(change, job_id)
        assert call_back(token_of(job_id)).status_code == 202
        with control():
            not_yet(run)
            row = job(look, job_id)
            assert row["due_at"] == only(attempts(look))["finished_at"] == only(attempts(look))["retry_at"]
            assert release_due(limit=1) == 1

    def test_nor_is_one_that_comes_while_the_answer_is_being_written(self, look: Look, control: Control) -> None:
        job_id = admitted("http.call", params=CALL)
        token, answers = token_of(job_id), []

        def race() -> None:
            try:
                answers.append(call_back(token).status_code)
            finally:
                connection.close()

        racer = threading.Thread(target=race)
        with control():
            run = claimed(job_id, worker_id=worker())
            with transaction.atomic():
                not_yet(run)
                racer.start()
                wait_for(lambda: look(WAITS_FOR_A_LOCK), what="the callback waits for the end", within_s=10)
            racer.join()
        row = job(look, job_id)
        assert (answers, row["status"]) == ([202], "retrying")
        assert row["due_at"] == row["started_at"] + timedelta(seconds=1)

    def test_then_too_attempts_are_a_second_apart(self, look: Look, control: Control) -> None:
        job_id = admitted("http.call", params=CALL)
        with control():
            run = claimed(job_id, worker_id=worker())
        call_back(token_of(job_id))
        with control():
            not_yet(run)
        row = job(look, job_id)
        assert row["due_at"] == row["started_at"] + timedelta(seconds=1)

    @pytest.mark.parametrize("code", ["http_503", "unreachable"])
    def test_another_failure_pauses_as_ever(self, look: Look, control: Control, code: str) -> None:
        job_id = admitted("http.call", params=CALL)
        with control():
            run = claimed(job_id, worker_id=worker())
        call_back(token_of(job_id))
        with control():
            not_yet(run, code=code)
        row = job(look, job_id)
        assert (row["due_at"] - row["started_at"]).total_seconds() >= LONG_S

    def test_a_callback_before_it_starts_is_about_nothing_that_it_will_hear(self, look: Look, control: Control) -> None:
        job_id = admitted("http.call", params=CALL)
        with control():
            ((made,),) = dispatch([[job_id]])
        assert call_back(token_of(job_id)).status_code == 202
        with control():
            run = offered(made, worker_id=worker())
            assert run is not None
            not_yet(run)
        row = job(look, job_id)
        assert (row["due_at"] - row["started_at"]).total_seconds() >= LONG_S

    def test_a_job_that_succeeds_all_the_same_is_over(self, look: Look, control: Control) -> None:
        job_id = admitted("http.call", params=CALL)
        with control():
            run = claimed(job_id, worker_id=worker())
        call_back(token_of(job_id))
        with control():
            finish(run)
        row = job(look, job_id)
        assert (row["status"], row["due_at"]) == ("succeeded", None)


class TestWhoMay:
    """The address is the proof, and the only one."""

    def test_a_job_that_is_over_is_gone(self, control: Control) -> None:
        job_id = waiting(control)
        with in_tenant("acme"):
            cancel(job_id=job_id, by="somebody")
        problem = refused(call_back(token_of(job_id)), 410, "job_over")
        assert problem["job_status"] == "cancelled"

    @pytest.mark.parametrize("how", ["cut", "another job's", "another tenant's", "no job", "another type", "none"])
    def test_a_forged_address_is_none(self, look: Look, control: Control, how: str) -> None:
        job_id, other = waiting(control), admitted("ops.noop")
        with control():
            claimed(other, worker_id=worker())
        before = job(look, job_id), job(look, other)
        good = token_of(job_id)
        forged = {
            "cut": good[:-1],
            "another job's": token_of(other).replace(str(other), str(job_id)),
            "another tenant's": token_of(job_id, tenant="globex"),
            "no job": token_of(uuid7()),
            "another type": token_of(other),
            "none": "x",
        }[how]
        refused(call_back(forged), 404, "not_found")
        assert (job(look, job_id), job(look, other)) == before

    def test_a_callback_needs_no_bearer_token_and_heeds_none(self, control: Control, globex: Module) -> None:
        job_id = waiting(control)
        assert call_back(token_of(job_id), Authorization="Bearer nonsense").status_code == 202
        assert globex.post({}, path=f"/operations/callbacks/{token_of(job_id)}").status_code == 202

    def test_what_the_body_says_is_not_read_and_a_large_one_not_taken(self, look: Look, control: Control) -> None:
        job_id = waiting(control)
        problem = refused(call_back(token_of(job_id), b"x" * (64 * 1024 + 1)), 413, "payload_too_large")
        assert problem["max_bytes"] == 64 * 1024
        assert job(look, job_id)["nudged_at"] is None
        assert call_back(token_of(job_id), b'{"not json', **{"Content-Type": "text/html"}).status_code == 202

    def test_only_a_post_is_a_callback(self, look: Look, control: Control) -> None:
        job_id = waiting(control)
        refused(client().get(f"/operations/callbacks/{token_of(job_id)}"), 405, "method_not_allowed")
        assert job(look, job_id)["nudged_at"] is None
