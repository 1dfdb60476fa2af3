"""A module engineer's first hour: submit a governed job, read it, its story, its log; an operator asks what is up."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable

import httpx
import pytest

from opsplatform.plane import CHECKOUT, Plane
from tests.support.client import Caller, Truth, wait_for

FIVE = (
    "operations_jobs_total",
    "operations_jobs_failed_total",
    "operations_alerts_total",
    "operations_tickets_open_total",
    "operations_migrations_total",
)


def manage(plane: Plane, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of `manage.py` on the plane, as its operator does."""
    return subprocess.run(
        [sys.executable, "manage.py", *words],
        check=False,
        cwd=CHECKOUT,
        env={**os.environ, "OPS_HOME": str(plane.home), "OPS_PORT": str(plane.port)},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_job_runs_and_tells_its_story(caller: Caller, truth: Truth) -> None:
    job_id = caller.submit("ops.fail", {"times": 1}, priority="high")["job_id"]
    job = caller.wait(job_id)
    assert (job["status"], job["attempt"], job["retries"], job["priority"]) == ("succeeded", 2, 1, "high")
    story = caller.request("GET", f"/operations/jobs/{job_id}/timeline").json()["items"]
    assert [moment["what"] for moment in story] == [
        "submitted",
        "decided",
        "decided",
        "dispatched",
        "started",
        "failed",
        "dispatched",
        "started",
        "succeeded",
        "ended",
    ]
    events = wait_for(
        lambda: truth.rows(
            "SELECT type FROM events WHERE subject = %s AND sequence IS NOT NULL ORDER BY sequence", job_id
        ),
        what="its events in the log",
    )
    wait_for(
        lambda: not truth.rows("SELECT 1 FROM events WHERE subject = %s AND sequence IS NULL", job_id),
        what="all of them",
    )
    events = truth.rows("SELECT type FROM events WHERE subject = %s ORDER BY sequence", job_id)
    assert [event["type"] for event in events] == [
        "operations.job.submitted",
        "operations.job.retrying",
        "operations.job.completed",
    ]


def test_a_jobs_log_can_be_followed_by_position(caller: Caller, truth: Truth) -> None:
    job_id = caller.submit("ops.sleep", {"seconds": 0.3})["job_id"]
    caller.wait(job_id)
    whole = caller.request("GET", f"/operations/jobs/{job_id}/logs").json()
    assert whole["items"], "the job told nothing"
    first = whole["items"][0]
    rest = caller.request("GET", f"/operations/jobs/{job_id}/logs?after={first['fence']}.{first['line']}").json()
    assert rest["items"] == whole["items"][1:]
    assert rest["next"] == whole["next"]
    attempt = truth.one("SELECT log_lines, log_digest FROM attempts WHERE job_id = %s", job_id)
    assert attempt["log_lines"] == len(whole["items"])
    assert re.fullmatch("sha256:[0-9a-f]{64}", attempt["log_digest"])


def test_another_tenants_job_does_not_exist_on_any_way_to_it(calling: Callable[..., Caller], caller: Caller) -> None:
    job_id = caller.submit("ops.noop")["job_id"]
    stranger = calling("globex")
    for way in ("", "/timeline", "/logs"):
        assert stranger.request("GET", f"/operations/jobs/{job_id}{way}").status_code == 404
    assert job_id not in stranger.request("GET", "/operations/jobs").text


def test_every_process_is_up_and_beats(plane: Plane) -> None:
    def beating() -> dict[str, object] | None:
        done = manage(plane, "status", "--json")
        assert done.returncode == 0, done.stderr
        status = json.loads(done.stdout)
        roles = {each["role"] for each in status["processes"] if each["last_beat"]}
        return status if roles >= {"web", "scheduler", "worker", "relay", "beat"} else None

    status = wait_for(beating, what="a beat of every role")
    assert set(status) >= {"processes", "addresses"}


def test_metrics_carry_the_five_names_and_count_what_ran(plane: Plane, caller: Caller) -> None:
    caller.wait(caller.submit("ops.noop")["job_id"])

    def counted() -> str | None:
        text = httpx.get(f"{plane.url}/metrics").text
        found = re.search(r'operations_jobs_total\{[^}]*status="succeeded"[^}]*tenant="acme"[^}]*\} ([0-9.e+]+)', text)
        return text if found and float(found[1]) >= 1 else None

    text = wait_for(counted, what="the job counted")
    for name in FIVE:
        assert f"# TYPE {name} " in text


def test_flower_names_tasks_after_their_job_types(plane: Plane, caller: Caller) -> None:
    caller.wait(caller.submit("ops.noop")["job_id"])
    user, _, password = (plane.home / "keys" / "flower.auth").read_text().strip().partition(":")

    def seen() -> bool:
        answer = httpx.get(f"{plane.addresses['flower']}/api/tasks", auth=(user, password), timeout=10)
        return answer.status_code == 200 and any(task["name"] == "ops.noop" for task in answer.json().values())

    wait_for(seen, what="the task in Flower")
    assert httpx.get(f"{plane.addresses['flower']}/api/tasks").status_code == 401


@pytest.mark.parametrize(
    "address", ["/operations/docs", "/operations/schema", "/.well-known/jwks.json", "/livez", "/readyz"]
)
def test_what_needs_no_token_answers(plane: Plane, address: str) -> None:
    assert httpx.get(f"{plane.url}{address}").status_code == 200
