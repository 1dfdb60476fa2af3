"""A stranger's quarter of an hour: a run is sealed within seconds, its receipt is fetched and verified offline."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from opsplatform.plane import CHECKOUT, Plane
from opsplatform.set_up import pip_settings
from tests.journeys.test_first_job import manage
from tests.support.client import Caller, wait_for

SEALED_WITHIN_S = 5  # the objective
ALL_OF_IT = {"cryptography", "cffi", "pycparser"}  # what `cryptography` itself brings included


def strangers_python(folder: Path) -> Path:
    """Make a virtual environment in `folder` that holds `cryptography`, as the lock has it, and not even pip."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=60)
    lock = (CHECKOUT / "requirements.txt").read_text(encoding="utf-8")
    wanted = re.finditer(rf"(?m)^(?:{'|'.join(ALL_OF_IT)})==(?:.*\\\n)*.*\n", lock)
    (folder / "wanted.txt").write_text("".join(each[0] for each in wanted), encoding="utf-8")
    python = folder / "bin" / "python"
    listed = [sys.executable, "-m", "pip", "config", "list"]
    listing = subprocess.run(listed, capture_output=True, text=True, check=False, timeout=60).stdout
    told = pip_settings.for_uv(pip=pip_settings.in_force(listing=listing), variables=os.environ)
    uv = [str(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet", "--python", str(python)]
    wheels = ["--require-hashes", "--only-binary", ":all:", "-r", str(folder / "wanted.txt")]
    subprocess.run([*uv, *wheels], env={**os.environ, **told}, check=True, timeout=120)
    return python


def installed(python: Path) -> set[str]:
    """Return the names of all distributions that a Python finds."""
    asked = "from importlib.metadata import distributions as d; print(*(each.name for each in d()))"
    run = subprocess.run([str(python), "-I", "-c", asked], env={}, capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_a_run_is_sealed_within_5_s_and_its_receipt_verifies_with_python_and_cryptography_alone(
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
        wait_for(lambda: caller.job(job_id)["evidence"]["state"] == "emitted", what="the sink has it, and cosigned")
        receipt = reader.request("GET", f"/operations/jobs/{job_id}/evidence").json()
        kept = reader.request("GET", "/operations/evidence/checkpoint").json()
    finally:
        reader.close()
    exported = manage(plane, "evidence_export", job_id, "--out", str(tmp_path / "receipt.json"))
    assert exported.returncode == 0, exported.stderr
    written = json.loads((tmp_path / "receipt.json").read_text(encoding="utf-8"))
    # The log may have grown meanwhile, and the proofs with it.
    assert [each["envelope"] for each in written["records"]] == [each["envelope"] for each in receipt["records"]]
    (tmp_path / "keys.json").write_text(manage(plane, "evidence_keys", "show").stdout, encoding="utf-8")
    (tmp_path / "kept").write_text(kept["note"], encoding="utf-8")
    checked = manage(plane, "evidence_verify", "--checkpoint", str(tmp_path / "kept"))
    assert checked.returncode == 0, checked.stdout
    python = strangers_python(tmp_path / "stranger")
    assert {"cryptography"} <= installed(python) <= ALL_OF_IT
    shutil.copy(CHECKOUT / "docs" / "verify_evidence.py", tmp_path)
    verify = [str(python), "-I", "verify_evidence.py", "receipt.json", "keys.json"]
    run = subprocess.run(verify, cwd=tmp_path, env={}, capture_output=True, text=True, timeout=30, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"verified: job:{job_id}, complete" in run.stdout
    assert "ok  cosigned by operations-witness-" in run.stdout
