"""A contract's plan on real data, over HTTP: a file is ingested, transformed, checked, and published as checked."""

from __future__ import annotations

import json
import shutil
from importlib.resources import files
from pathlib import Path

from opsplatform.plane import Plane
from tests.support.client import Caller, Truth

WEATHER = Path(str(files("vega_datasets"))) / "_data" / "seattle-weather.csv"
STEPS = [
    {
        "name": "ingest",
        "type": "ingest.file",
        "params": {"source": "incoming/seattle-weather.csv", "dataset": "plan-weather"},
    },
    {
        "name": "transform",
        "type": "sql.transform",
        "needs": ["ingest"],
        "params": {
            "inputs": {"weather": "${steps.ingest.artifacts.dataset}"},
            "sql": "SELECT weather, count(*) AS days FROM weather GROUP BY weather",
            "output": "plan-days",
        },
    },
    {
        "name": "check",
        "type": "data.check",
        "needs": ["transform"],
        "params": {
            "dataset": "plan-days",
            "source": "${steps.transform.artifacts.dataset}",
            "rules": [{"rule": "unique", "columns": ["weather"]}, {"rule": "row_count", "min": 5, "max": 5}],
        },
    },
    {
        "name": "promote",
        "type": "dataset.promote",
        "needs": ["check"],
        "params": {"dataset": "plan-days", "digest": "${steps.check.artifacts.dataset.digest}"},
    },
]


def test_from_ingest_to_promote(plane: Plane, caller: Caller, truth: Truth) -> None:
    storage = plane.home / "storage" / "acme"
    (storage / "incoming").mkdir(parents=True, exist_ok=True)
    shutil.copy(WEATHER, storage / "incoming")
    truth.execute(
        "INSERT INTO contracts (name, version, state, job_types, document, obligations, digest, created_at)"
        " VALUES ('weather', 1, 'active', '{*}', %s, '{}', 'sha256:0', clock_timestamp()) ON CONFLICT DO NOTHING",
        json.dumps({"plan": {"steps": STEPS}}),
    )
    plan = caller.wait(caller.submit("contract.run", contract="weather@1")["job_id"], within_s=90)
    steps = {job["step"]: job for job in caller.request("GET", plan["links"]["children"]).json()["items"]}
    assert {name: (job["outcome"], job["error"]) for name, job in steps.items()} == dict.fromkeys(
        ("ingest", "transform", "check", "promote"), ("succeeded", None)
    )
    assert (plan["outcome"], plan["progress"]["done"], plan["progress"]["total"]) == ("succeeded", 4, 4)
    current = json.loads((storage / "published/plan-days/current.json").read_text())["current"]
    (checked,) = (each for each in steps["check"]["result"]["artifacts"] if each["name"] == "dataset")
    assert current["digest"] == checked["digest"], "what was checked is what is published"
    assert current["version"] == steps["promote"]["job_id"]
