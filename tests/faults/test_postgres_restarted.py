"""Fault 7: PostgreSQL restarts under load; every process reconnects by itself and nothing acknowledged is lost."""

from __future__ import annotations

import threading

import httpx
import pytest

from opsplatform import embedded
from opsplatform.embedded.postgres import Mode
from opsplatform.plane import Plane
from tests.support.client import Caller, Truth, wait_for


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_nothing_acknowledged_is_lost_when_postgres_restarts_in_the_middle(
    plane: Plane, caller: Caller, truth: Truth, mode: Mode
) -> None:
    accepted: list[str] = []
    refused: list[int] = []
    over = threading.Event()

    def submit() -> None:
        while not over.is_set():
            try:
                answer = caller.request(
                    "POST", "/operations/jobs", json={"type": "ops.sleep", "params": {"seconds": 0.05}}
                )
            except httpx.TransportError:
                continue
            if answer.status_code == 202:
                accepted.append(answer.json()["job_id"])
            else:
                refused.append(answer.status_code)
                assert answer.headers.get("Retry-After"), answer.text

    threads = [threading.Thread(target=submit) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        wait_for(lambda: len(accepted) >= 10, what="work goes in")
        embedded.restart_postgres(home=plane.home, mode=mode)
        before = len(accepted)
        wait_for(lambda: len(accepted) >= before + 10, what="work goes in again")
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert set(refused) <= {503}
    for job_id in accepted:
        assert caller.wait(job_id, within_s=90)["outcome"] == "succeeded"
    lost = set(accepted) - {str(row["job_id"]) for row in truth.rows("SELECT job_id FROM jobs")}
    assert lost == set()
