"""A stranger's quarter of an hour: a run is sealed within seconds, its receipt is fetched and verified offline."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from opsplatform.plane import CHECKOUT, Plane
from tests.journeys.test_first_job import manage
from tests.support.client import Caller, wait_for

SEALED_WITHIN_S = 5  # the objective


def test_a_run_is_sealed_within_5_s_and_its_receipt_verifies_offline(
    plane: Plane, caller: Caller, tmp_path: Path
) -> None:
    reader = Caller(url=plane.url, home=plane.home, tenants=["acme"], scope="evidence:read")
    try:
        job_id = caller.submit("ops.noop")["job_id"]
        caller.wait(job_id)
        ended = time.monotonic()
        receipt = wait_for(
            lambda: (
                found
                if (found := reader.request("GET", f"/operations/jobs/{job_id}/evidence").json())["complete"]
                else None
            ),
            what="its outcome lies under a checkpoint",
            within_s=SEALED_WITHIN_S,
        )
        assert time.monotonic() - ended < SEALED_WITHIN_S
        kept = reader.request("GET", "/operations/evidence/checkpoint").json()
    finally:
        reader.close()
    (tmp_path / "receipt.json").write_text(json.dumps(receipt), encoding="utf-8")
    (tmp_path / "keys.json").write_text(manage(plane, "evidence_keys", "show").stdout, encoding="utf-8")
    verify = [sys.executable, "-I", str(CHECKOUT / "docs" / "verify_evidence.py"), "receipt.json", "keys.json"]
    run = subprocess.run(verify, cwd=tmp_path, env={}, capture_output=True, text=True, timeout=30, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"verified: job:{job_id}, complete" in run.stdout
    (tmp_path / "kept").write_text(kept["note"], encoding="utf-8")
    checked = manage(plane, "evidence_verify", "--checkpoint", str(tmp_path / "kept"))
    assert checked.returncode == 0, checked.stdout
