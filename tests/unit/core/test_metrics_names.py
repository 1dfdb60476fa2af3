"""Metrics: the published names exactly, a zero before anything happened, and one sum over many processes."""

import os
import subprocess
import sys
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

COUNTERS = {
    "operations_jobs_total": "counter",
    "operations_jobs_failed_total": "counter",
    "operations_alerts_total": "counter",
    "operations_tickets_open_total": "gauge",
    "operations_migrations_total": "counter",
}
HISTOGRAMS = {
    "operations_job_scheduling_seconds",
    "operations_job_start_delay_seconds",
    "operations_job_duration_seconds",
    "operations_alert_delivery_seconds",
    "operations_evidence_emission_seconds",
    "operations_heartbeat_age_seconds",
}


def run(code: str, *, folder: Path | None) -> str:
    """Run `code` in a process of its own: metrics are a process's, and the folder is read as they are defined."""
    surroundings = {name: value for name, value in os.environ.items() if name != "PROMETHEUS_MULTIPROC_DIR"}
    if folder:
        surroundings["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    program = f"from apps.core import metrics\n{code}\nprint(metrics.exposition().decode())"
    return subprocess.run(
        [sys.executable, "-c", program],
        env=surroundings,
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def names_are_right(text: str) -> None:
    lines = text.splitlines()
    for name, kind in COUNTERS.items():
        assert f"# TYPE {name} {kind}" in lines
        assert any(line.startswith((f"{name} ", f"{name}{{")) for line in lines)
    for name in HISTOGRAMS:
        assert f"# TYPE {name} histogram" in lines
        assert any(line.startswith((f"{name}_count ", f"{name}_count{{")) for line in lines)


def test_every_name_is_there_before_anything_happened(tmp_path: Path) -> None:
    for folder in (None, tmp_path / "made-by-the-process"):
        text = run("", folder=folder)
        names_are_right(text)
        assert samples(text)["operations_jobs_total", ()] == 0
        assert samples(text)["operations_tickets_open_total", ()] == 0


EVERYTHING = """
metrics.job_entered(tenant_id="acme", job_type="kpi.refresh", status="succeeded")
metrics.job_entered(tenant_id="acme", job_type="kpi.refresh", status="timed_out")
metrics.alert_raised(severity="critical")
metrics.tickets_open(module="jobs", count={tickets})
metrics.migration_entered(status="running", module="crm")
metrics.migration_ran(seconds=90, module="crm", outcome="succeeded")
metrics.migrations_stand(progress={{"crm": 0.5}}, targets={{"upgraded": 7}})
metrics.job_scheduled(seconds=0.003)
metrics.job_started(seconds=0.02, priority="normal")
metrics.job_ran(seconds=1.5, job_type="kpi.refresh", outcome="succeeded")
metrics.alert_delivered(seconds=0.4, severity="critical")
metrics.evidence_emitted(seconds=-0.1)
metrics.heartbeat_seen(age_s=4, role="worker-default")
"""


def test_what_happened_is_counted_under_the_names_and_labels_of_the_contract() -> None:
    text = run(EVERYTHING.format(tickets=3), folder=None)
    names_are_right(text)
    counted = samples(text)
    job = (("status", "succeeded"), ("tenant", "acme"), ("type", "kpi.refresh"))
    assert counted["operations_jobs_total", job] == 1
    assert counted["operations_jobs_failed_total", (("tenant", "acme"), ("type", "kpi.refresh"))] == 1
    assert counted["operations_alerts_total", (("severity", "critical"),)] == 1
    assert counted["operations_tickets_open_total", (("module", "jobs"),)] == 3
    assert counted["operations_migrations_total", (("module", "crm"), ("status", "running"))] == 1
    assert counted["operations_migration_progress", (("module", "crm"),)] == 0.5
    assert counted["operations_migration_targets", (("state", "upgraded"),)] == 7
    assert counted["operations_job_scheduling_seconds_bucket", (("le", "0.005"),)] == 1
    assert counted["operations_evidence_emission_seconds_sum", ()] == 0


def test_many_processes_are_one_sum_and_the_last_count_of_tickets_stands(tmp_path: Path) -> None:
    run(EVERYTHING.format(tickets=3), folder=tmp_path)
    text = run(EVERYTHING.format(tickets=2), folder=tmp_path)
    names_are_right(text)
    counted = samples(text)
    assert counted["operations_alerts_total", (("severity", "critical"),)] == 2
    assert counted["operations_job_scheduling_seconds_count", ()] == 2
    assert counted["operations_tickets_open_total", (("module", "jobs"),)] == 2
    again = samples(run("", folder=tmp_path))
    assert again["operations_alerts_total", (("severity", "critical"),)] == 2


def test_the_number_of_tenants_in_labels_is_bounded() -> None:
    text = run(
        "for n in range(500): metrics.job_entered(tenant_id=f't{n}', job_type=f'x{n}', status='queued')", folder=None
    )
    tenants = {dict(labels).get("tenant") for name, labels in samples(text) if name == "operations_jobs_total"}
    assert len(tenants) == 201
    assert "other" in tenants
