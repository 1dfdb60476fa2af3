"""Idempotency keys: the same request under the same key is done once, whoever else is at work, whatever dies."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from django.db import connection

from apps.tenancy.context import in_tenant
from apps.tenancy.idempotency import purge_expired
from tests.integration.conftest import Change, Control, Look
from tests.support.api import JOBS, Module, refused, said
from tests.support.work import only

NOOP = {"type": "ops.noop"}
KEY = {"Idempotency-Key": "order-66"}


def jobs(look: Look) -> int:
    return int(only(look("SELECT count(*) FROM jobs"))["count"])


def keys(look: Look) -> int:
    return int(only(look("SELECT count(*) FROM idempotency_keys"))["count"])


class TestTheSameAgain:
    """Answered with the same words, and done once."""

    def test_gets_the_same_answer_and_no_second_job(self, acme: Module, look: Look, change: Change) -> None:
        first = acme.post(NOOP, **KEY)
        change("UPDATE jobs SET priority = 0")
        again = acme.post(NOOP, **KEY)
        assert said(again, 202) == said(first, 202)
        assert again.content == first.content
        assert again["Location"] == first["Location"]
        assert (again["Idempotent-Replayed"], "Idempotent-Replayed" in first) == ("true", False)
        assert jobs(look) == 1

    def test_a_refusal_is_repeated_with_its_job(self, acme: Module, look: Look) -> None:
        first, again = acme.post({"type": "kpi.refresh"}, **KEY), acme.post({"type": "kpi.refresh"}, **KEY)
        assert again.status_code == 403
        assert again["Content-Type"] == "application/problem+json"
        assert json.loads(again.content) == json.loads(first.content)
        assert json.loads(again.content)["job_id"]
        assert jobs(look) == 1

    def test_a_batch_is_repeated_whole(self, acme: Module, look: Look) -> None:
        body = {"jobs": [NOOP, {"type": "none"}, NOOP]}
        first, again = (acme.post(body, path=f"{JOBS}/batch", **KEY) for _ in range(2))
        assert said(again, 202) == said(first, 202)
        assert jobs(look) == 2

    def test_with_another_body_is_a_conflict(self, acme: Module, look: Look) -> None:
        said(acme.post(NOOP, **KEY), 202)
        refused(acme.post({"type": "ops.noop", "priority": "high"}, **KEY), 409, "idempotency_conflict")
        assert jobs(look) == 1

    def test_a_command_with_another_body_is_a_conflict_too(self, acme: Module, look: Look) -> None:
        path = f"{JOBS}/{said(acme.post({**NOOP, 'priority': 'low'}), 202)['job_id']}/reprioritize"
        said(acme.post({"priority": "high"}, path=path, **KEY), 202)
        refused(acme.post({"priority": "bulk"}, path=path, **KEY), 409, "idempotency_conflict")

    def test_without_a_key_is_another_job(self, acme: Module, look: Look) -> None:
        said(acme.post(NOOP), 202), said(acme.post(NOOP), 202)
        assert (jobs(look), keys(look)) == (2, 0)


class TestScope:
    """A key belongs to a tenant, a module and a route, for a day."""

    def test_another_tenants_key_is_another_key(self, acme: Module, globex: Module, look: Look) -> None:
        mine, theirs = said(acme.post(NOOP, **KEY), 202), said(globex.post(NOOP, **KEY), 202)
        assert (mine["tenant_id"], theirs["tenant_id"]) == ("acme", "globex")
        assert mine["job_id"] != theirs["job_id"]

    def test_another_route_is_another_key(self, acme: Module, look: Look) -> None:
        said(acme.post(NOOP, **KEY), 202)
        said(acme.post({"jobs": [NOOP]}, path=f"{JOBS}/batch", **KEY), 202)
        assert jobs(look) == 2

    def test_another_module_is_another_key(self, acme: Module, look: Look, change: Change) -> None:
        said(acme.post(NOOP, **KEY), 202)
        change("UPDATE idempotency_keys SET subject = 'another-module'")
        assert "Idempotent-Replayed" not in acme.post(NOOP, **KEY)
        assert jobs(look) == 2

    def test_a_day_later_it_is_free_again_also_for_another_body(self, acme: Module, look: Look, change: Change) -> None:
        said(acme.post(NOOP, **KEY), 202)
        hours = only(
            look("SELECT extract(epoch FROM expires_at - clock_timestamp()) / 3600 AS h FROM idempotency_keys")
        )
        assert 23.9 < hours["h"] <= 24
        change("UPDATE idempotency_keys SET expires_at = clock_timestamp()")
        other = {"type": "ops.noop", "priority": "high"}
        assert "Idempotent-Replayed" not in acme.post(other, **KEY)
        assert acme.post(other, **KEY)["Idempotent-Replayed"] == "true"
        assert (jobs(look), keys(look)) == (2, 1)

    def test_what_is_over_is_swept_away_and_the_rest_is_kept(
        self, acme: Module, look: Look, change: Change, control: Control
    ) -> None:
        for name in ("a", "b", "c"):
            acme.post(NOOP, **{"Idempotency-Key": name})
        change("UPDATE idempotency_keys SET expires_at = clock_timestamp() WHERE key <> 'b'")
        with control():
            assert purge_expired() == 2
        assert [row["key"] for row in look("SELECT key FROM idempotency_keys")] == ["b"]


class TestWhatLetsItGo:
    """What was not done can be asked again under the same key."""

    def test_a_limit_that_clears(self, acme: Module, look: Look, change: Change) -> None:
        change("UPDATE plans SET backlog_cap = 0")
        refused(acme.post(NOOP, **KEY), 429, "backlog_full")
        assert jobs(look) == 1, "the refused job is kept all the same"
        change("UPDATE plans SET backlog_cap = 10")
        assert "Idempotent-Replayed" not in acme.post(NOOP, **KEY)
        assert said(acme.post(NOOP, **KEY), 202)["status"] == "queued"
        assert jobs(look) == 2

    def test_a_body_that_could_not_be_understood(self, acme: Module, look: Look) -> None:
        for bad in ({"type": "ops.none"}, {"type": "ops.noop", "environment": "moon"}):
            refused(acme.post(bad, **KEY), 400, "invalid_fields")
        assert keys(look) == 0
        said(acme.post(NOOP, **KEY), 202)

    def test_a_tenant_that_is_not_there(self, platform: Module, look: Look) -> None:
        refused(platform.post({**NOOP, "tenant_id": "nobody"}, **KEY), 404, "not_found")
        batch = platform.post({"jobs": [{**NOOP, "tenant_id": "nobody"}]}, path=f"{JOBS}/batch", **KEY)
        assert said(batch, 202)["results"][0]["status"] == 404
        assert keys(look) == 0

    def test_a_request_that_dies_in_its_middle_leaves_neither_key_nor_job(
        self, acme: Module, look: Look, change: Change
    ) -> None:
        # The database itself breaks off, after the key was taken and the job written.
        change("ALTER TABLE idempotency_keys ADD CONSTRAINT breaks CHECK (status IS NULL)")
        try:
            with pytest.raises(Exception, match="breaks"):
                acme.post(NOOP, **KEY)
        finally:
            change("ALTER TABLE idempotency_keys DROP CONSTRAINT breaks")
        assert (jobs(look), keys(look)) == (0, 0)
        assert "Idempotent-Replayed" not in acme.post(NOOP, **KEY)


@pytest.mark.parametrize("key", ["", "k" * 256, "a b", "a\tb", "é", "a\x7f"])
def test_what_is_no_key_is_refused_by_name(acme: Module, look: Look, key: str) -> None:
    problem = refused(acme.post(NOOP, **{"Idempotency-Key": key}), 400, "invalid_idempotency_key")
    assert [error["field"] for error in problem["errors"]] == ["Idempotency-Key"]
    assert jobs(look) == 0


def test_a_key_of_all_visible_characters_is_one(acme: Module) -> None:
    key = "".join(chr(code) for code in range(0x21, 0x7F)).ljust(255, "~")
    assert acme.post(NOOP, **{"Idempotency-Key": key}).status_code == 202
    assert acme.post(NOOP, **{"Idempotency-Key": key})["Idempotent-Replayed"] == "true"


class TestAtOnce:
    """Requests that race for one key."""

    def test_of_many_at_once_one_is_done_and_the_others_repeat_it(self, acme: Module, look: Look) -> None:
        answers: list[Any] = []
        start = threading.Barrier(6)

        def send() -> None:
            module = Module("acme")
            start.wait()
            try:
                answers.append(module.post(NOOP, **KEY))
            finally:
                connection.close()

        threads = [threading.Thread(target=send) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({answer.content for answer in answers}) == 1
        assert sorted("Idempotent-Replayed" in answer for answer in answers) == [False] + [True] * 5
        assert jobs(look) == 1

    def test_the_second_waits_for_the_first_and_takes_over_when_it_breaks_off(
        self, acme: Module, look: Look, holder: Callable[[], psycopg.Connection]
    ) -> None:
        first = holder()
        thread = threading.Timer(0.5, first.rollback)
        thread.start()
        assert "Idempotent-Replayed" not in acme.post(NOOP, **KEY)
        thread.join()
        assert jobs(look) == 1

    def test_the_second_does_not_wait_longer_than_it_may(
        self, acme: Module, look: Look, holder: Callable[[], psycopg.Connection]
    ) -> None:
        first = holder()
        with in_tenant("acme"), connection.cursor() as cursor:
            cursor.execute("SHOW lock_timeout")
            assert cursor.fetchone() == ("5s",)
        answer = acme.post(NOOP, **KEY)
        refused(answer, 409, "idempotency_in_progress")
        assert answer["Retry-After"] == "1"
        first.rollback()
        assert jobs(look) == 0


@pytest.fixture
def holder(db: None, superuser: psycopg.Connection) -> Any:
    """Return a maker of a session that holds the key in a transaction of its own, as a request at work does."""
    made: list[psycopg.Connection] = []

    def hold() -> psycopg.Connection:
        session = psycopg.connect(superuser.info.dsn, password=superuser.info.password)
        made.append(session)
        session.execute(
            "INSERT INTO idempotency_keys (key_id, tenant_id, subject, route, key, digest, headers, body, expires_at)"
            " VALUES (gen_random_uuid(), 'acme', 'data-acquisition', 'POST operations/jobs', 'order-66', '', '{}', '',"
            " clock_timestamp() + interval '1 day')"
        )
        return session

    yield hold
    for session in made:
        session.close()
