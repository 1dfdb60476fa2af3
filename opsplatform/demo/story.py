"""The story, chapter by chapter: acme refreshes a figure under contract, a neighbour is refused, a worker is killed.

Every sentence marked as true was checked; the first that is not ends the demo with `NotTrueError`.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from http import HTTPStatus
from pathlib import Path
from typing import Any

from opsplatform.demo import data
from opsplatform.demo.callers import Answer, Module, Witness, manage, module
from opsplatform.demo.telling import NotTrueError, Telling
from opsplatform.plane import CHECKOUT, Plane

JOB_WITHIN_S = 60
CONTRACT = "kpi.seattle-rain@1"
INTACT, TOUCHED = frozenset({0}), frozenset({1})
SEALED_WITHIN_S = 5  # the plane's objective
EMITTED_WITHIN_S = 10
UNEMITTED = """
SELECT count(*) FROM evidence_records r WHERE NOT EXISTS (
    SELECT 1 FROM evidence_emissions e WHERE e.tenant_id = r.tenant_id AND e.region = r.region AND e.size > r.number)
"""
OFFLINE_WITHIN_S = 30


@dataclass(kw_only=True)
class Stage:
    """What the chapters share."""

    tell: Telling
    plane: Plane
    acme: Module
    globex: Module
    witness: Witness
    accepted: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    tickets: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    @property
    def storage(self) -> Path:
        """acme's own storage: the data path, which the plane knows by URI only."""
        return self.plane.home / "storage" / "acme"

    def submit(self, by: Module, **job: Any) -> str:
        """Submit a job that must be accepted; return its id."""
        self.accepted.append(by.accepted(**job))
        return self.accepted[-1]

    def ended(
        self, by: Module, job_id: str, *, within_s: float = JOB_WITHIN_S, for_what: str | None = None
    ) -> dict[str, Any]:
        """Wait until a job has ended and return it as read; raise `NotTrueError` unless it succeeded."""
        job: dict[str, Any] = {}

        def over() -> bool:
            job.update(by.job(job_id).body)
            return job["outcome"] is not None

        self.tell.wait(over, for_what=for_what or f"waiting for job {job_id}", within_s=within_s)
        if job["outcome"] != "succeeded":
            raise NotTrueError(f"{job['type']} {job_id} should have succeeded; it {job['outcome']}: {job['error']}")
        return job


def set_stage(*, tell: Telling, plane: Plane) -> Stage:
    """Get tokens, and a look behind the scenes."""
    acme = module(plane=plane, name="acme-data", tenant="acme")
    globex = module(plane=plane, name="globex-data", tenant="globex")
    witness = Witness(plane=plane)
    tell.check(
        witness.status["up"] and witness.status["ready"],
        f"`manage.py status` says: up and ready, {len(witness.status['processes'])} processes",
    )
    tell.true("`manage.py issue_token` signed a token (Ed25519, 15 minutes) for a module of acme's and one of globex's")
    return Stage(tell=tell, plane=plane, acme=acme, globex=globex, witness=witness)


def ingest(stage: Stage) -> None:
    """acme lands files in its own storage and has them ingested."""
    stage.tell.chapter("acme lands real files in its own storage and has them ingested")
    paths = data.land(storage=stage.storage)
    stage.tell.say(
        f"{len(paths)} CSV files out of the PyPI package vega-datasets. The plane is told paths, never rows."
    )
    jobs = {
        name: stage.submit(stage.acme, type="ingest.file", params={"source": path, "dataset": name})
        for name, path in zip(data.FILES, paths, strict=True)
    }
    told = []
    for name, job_id in jobs.items():
        job = stage.ended(stage.acme, job_id)
        rows, same = data.result(job)
        expected = len(data.rows(name))
        if not (len(rows) == job["result"]["metrics"]["rows_out"] == expected and same):
            raise NotTrueError(
                f"{name} should have {expected} rows and the digest that the plane keeps: {job['result']}"
            )
        told.append(
            (f"{name}.csv", expected, f"datasets/{name}/data.parquet", job["result"]["artifacts"][0]["digest"][:19])
        )
    stage.tell.table(("file", "rows", "became", "digest"), told, left=frozenset({0, 2, 3}))
    stage.tell.true("row counts agree with Python's csv module, files with the digests the plane keeps of them")


def refresh(stage: Stage) -> None:
    """A figure is computed under its contract, and once more without the plane."""
    stage.tell.chapter(f"acme refreshes a KPI under its contract {CONTRACT}")
    job = stage.ended(stage.acme, stage.submit(stage.acme, type="kpi.refresh", contract=CONTRACT, params={}))
    rows, same = data.result(job)
    plane = {
        row["year"]: data.Rain(row["rainy_days"], Decimal(str(row["precipitation_mm"])).quantize(Decimal("0.1")))
        for row in rows
    }
    alone = data.rain()
    stage.tell.table(
        ("year", "rainy days: plane", "by hand", "rain (mm): plane", "by hand"),
        [
            (
                year,
                plane[year].rainy_days if year in plane else "-",
                figures.rainy_days,
                plane[year].precipitation_mm if year in plane else "-",
                figures.precipitation_mm,
            )
            for year, figures in alone.items()
        ],
    )
    stage.tell.check(plane == alone and same, "both agree: DuckDB in the worker, and plain Python (csv, decimal) here")
    governance, subscription = job["decision"]["governance"], job["decision"]["subscription"]
    stage.tell.check(
        governance["allowed"] and subscription["allowed"],
        f"Governance allowed it (decision {governance['decision_id']}), "
        f"and so did Subscription (decision {subscription['decision_id']})",
    )


def refusals(stage: Stage) -> None:
    """What may not run is refused, kept and proven; what is another's does not exist."""
    stage.tell.chapter("What may not run is refused, with a reason, and kept")
    acme, globex = stage.acme, stage.globex
    _refused(
        stage, acme, "acme, without a contract", acme.submit(type="kpi.refresh", params={}), code="contract_required"
    )
    other = acme.submit(type="kpi.refresh", contract="kpi.seattle-rain@2", params={})
    _refused(stage, acme, "acme, under a version that nobody signed", other, code="contract_unknown")
    theirs = globex.submit(type="kpi.refresh", contract=CONTRACT, params={})
    _refused(stage, globex, "globex, on plan basic", theirs, code="not_entitled")
    stage.tell.check(
        globex.job(stage.accepted[0]).status == HTTPStatus.NOT_FOUND,
        "globex asks for a job of acme's by its right id: 404, as if there were none",
    )


def _refused(stage: Stage, by: Module, who: str, answer: Answer, *, code: str) -> None:
    problem = answer.body
    if answer.status != HTTPStatus.FORBIDDEN or problem.get("code") != code:
        raise NotTrueError(f"{who}: should be refused with {code}: {answer.status} {problem}")
    kept = by.job(problem["job_id"]).body
    if kept.get("status") != "rejected" or not kept["evidence"]["ref"]:
        raise NotTrueError(f"{who}: the refused job should be kept, rejected, with its evidence: {kept}")
    if not problem.get("decision_id"):
        raise NotTrueError(f"{who}: the refusal should name its decision: {problem}")
    stage.refused.append(problem["job_id"])
    stage.tell.true(f"{who}: 403 {code}: {problem['reason']}")
    stage.tell.table(
        ("job (kept, rejected)", "decision", "evidence"),
        [(problem["job_id"], problem["decision_id"], f"…{kept['evidence']['ref'][-12:]}")],
        left=frozenset({0, 1, 2}),
    )


def transform(stage: Stage) -> None:
    """One SELECT over two datasets makes a third."""
    stage.tell.chapter("acme joins two datasets by SQL")
    inputs = {"seattle": "datasets/seattle-temps/data.parquet", "sf": "datasets/sf-temps/data.parquet"}
    params = {"inputs": inputs, "sql": data.MONTHS_SQL, "output": "warmer-hours"}
    job = stage.ended(stage.acme, stage.submit(stage.acme, type="sql.transform", params=params))
    rows, same = data.result(job)
    plane = {row["month"]: data.Hours(row["hours"], row["seattle_warmer"]) for row in rows}
    stage.tell.check(
        plane == data.warmer_hours() and same,
        f"of {sum(each.hours for each in plane.values())} hours of 2010 Seattle was warmer than San Francisco in "
        f"{sum(each.seattle_warmer for each in plane.values())}; all twelve months agree with plain Python",
    )


def check_events(stage: Stage, job_id: str) -> None:
    """The stream has told it all, in order."""
    stage.tell.chapter("What the event stream told meanwhile")
    names = {
        **dict.fromkeys(stage.accepted, "operations.job.completed"),
        **dict.fromkeys(stage.failed, "operations.job.failed"),
        **dict.fromkeys(stage.refused, "operations.job.rejected"),
    }
    seen: list[dict[str, Any]] = []

    def all_told() -> bool:
        seen[:] = stage.witness.events()
        ended = {event["subject"] for event in seen if event["type"] == names.get(event["subject"])}
        return ended == set(names)

    stage.tell.wait(all_told, for_what="waiting for every job's last event in the stream", within_s=15)
    sequences = [int(event["sequence"]) for event in seen]
    stage.tell.check(
        sequences == sorted(set(sequences)),
        f"{len(seen)} CloudEvents in the Valkey stream operations.events, their sequence rising without a repeat",
    )
    mine = [event for event in seen if event["subject"] == job_id]
    rows = [(int(event["sequence"]), event["type"], event["time"][11:23], event["data"]["attempt"]) for event in mine]
    stage.tell.table(("sequence", "event of the job above", "at", "attempt"), rows, left=frozenset({1}))
    stage.tell.check(
        [event["type"].removeprefix("operations.job.") for event in mine] == ["submitted", "retrying", "completed"],
        "the job that lost its worker was submitted, retrying, completed: each told once",
    )


def check_evidence(stage: Stage, job_id: str) -> None:
    """The logs are what was signed; a record that is changed is found, and a receipt holds without the plane."""
    stage.tell.chapter("The evidence")
    found: dict[str, Any] = {}

    def sealed() -> bool:
        found.update(examined(stage, codes=INTACT))
        return not any(log["unsealed"] for log in found["logs"])

    stage.tell.wait(sealed, for_what="waiting for the last record's seal", within_s=SEALED_WITHIN_S)
    stage.tell.wait(
        lambda: stage.witness.number(UNEMITTED) == 0,
        for_what="waiting for the evidence sink to have it all",
        within_s=EMITTED_WITHIN_S,
    )
    counts = found["by_predicate"]
    ended = len(stage.accepted) + len(stage.failed)
    stage.tell.check(
        (counts.get("admission"), counts.get("outcome")) == (ended, ended + len(stage.tickets))
        and counts.get("refusal") == len(stage.refused)
        and not (found["findings"] or found["missing"] or found["open"]),
        f"{found['records']} records, verified from the first to the last checkpoint: {counts.get('admission')} "
        f"admissions, {counts.get('outcome')} outcomes, {counts.get('refusal')} refusals; none changed, none missing",
        seen=found,
    )
    stage.tell.table(
        ("log", "sealed", "checkpoints", "root (signed, Ed25519)"),
        [(log["origin"], log["size"], log["checkpoints"], log["root"][:32] + "…") for log in found["logs"]],
        left=frozenset({0, 3}),
    )
    _check_receipt(stage, job_id)
    _tamper(stage, job_id)


def _check_receipt(stage: Stage, job_id: str) -> None:
    """Export the receipt of the run that lost its worker, and verify it as a stranger would; change it, and be told."""
    folder = stage.plane.home / "receipt"
    folder.mkdir()
    receipt, key_file = folder / "receipt.json", folder / "keys.json"
    manage(plane=stage.plane, words=["evidence_export", job_id, "--out", str(receipt)], codes=INTACT)
    key_file.write_text(manage(plane=stage.plane, words=["evidence_keys", "show"], codes=INTACT), encoding="utf-8")
    code, said = _verify_offline(receipt, key_file)
    for line in said.splitlines():
        stage.tell.say(line)
    stage.tell.check(
        code == 0 and f"verified: job:{job_id}, complete" in said and "cosigned by operations-witness-" in said,
        "its receipt, one file, verified by docs/verify_evidence.py: only Python and `cryptography`, no server",
        seen=said,
    )
    receipt.write_text(receipt.read_text(encoding="utf-8").replace("index ", "index 1", 1), encoding="utf-8")
    code, said = _verify_offline(receipt, key_file)
    stage.tell.check(
        code == 1 and "NOT VERIFIED" in said, f"one digit of it changed: {said.splitlines()[-1]}", seen=said
    )


def _verify_offline(receipt: Path, key_file: Path) -> tuple[int, str]:
    """Run the script in a process that sees nothing of the plane: no checkout on its path, no variables."""
    command = [sys.executable, "-I", str(CHECKOUT / "docs" / "verify_evidence.py"), str(receipt), str(key_file)]
    run = subprocess.run(
        command, capture_output=True, text=True, cwd=receipt.parent, env={}, timeout=OFFLINE_WITHIN_S, check=False
    )
    return run.returncode, run.stdout + run.stderr


def _tamper(stage: Stage, job_id: str) -> None:
    """Change a record behind the plane's back: it is named, and only it."""
    where = "WHERE subject_id = %s AND predicate = 'outcome'"
    swap = "UPDATE evidence_records SET payload = convert_to(replace(convert_from(payload, 'UTF8'), %s, %s), 'UTF8') "
    told, falsified = '"attempt":2', '"attempt":1'
    if stage.witness.tamper(swap + where, told, falsified, job_id) != 1:
        raise NotTrueError("there should be one outcome record of the job that lost its worker")
    stage.tell.say("A test of the test: PostgreSQL's superuser edits one record, so that it hides the lost worker.")
    changed = examined(stage, codes=TOUCHED)["findings"]
    stage.tell.check(
        [(one["job_id"], one["predicate"]) for one in changed] == [(job_id, "outcome")],
        f"`evidence_verify` names it, and only it: {changed[0]['finding']} ({changed[0]['predicate']} of job {job_id})",
        seen=changed,
    )
    stage.witness.tamper(swap + where, falsified, told, job_id)
    stage.tell.check(examined(stage, codes=INTACT)["verdict"] == "intact", "put back as it was: intact again")


def examined(stage: Stage, *, codes: frozenset[int]) -> dict[str, Any]:
    """Return what `evidence_verify` finds; it must end with one of `codes`."""
    return dict(json.loads(manage(plane=stage.plane, words=["evidence_verify", "--json"], codes=codes)))


CHAPTERS: tuple[Callable[[Stage], None], ...] = (ingest, refresh, refusals, transform)
