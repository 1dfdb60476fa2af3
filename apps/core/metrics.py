"""Every metric of the plane, defined once under its published name; other apps call the functions, not the objects.

With `PROMETHEUS_MULTIPROC_DIR` set (as the supervisor does) each process counts into files of that folder, and
whichever web process is scraped adds them up. Labels stay few: a tenant, type or module is written as it is only while
their number is bounded, the rest share `other`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

CONTENT_TYPE: Final[str] = CONTENT_TYPE_PLAIN_0_0_4
MOST_LABEL_VALUES: Final = 200
OTHER: Final = "other"
FAILED: Final = frozenset({"failed", "timed_out"})

if "PROMETHEUS_MULTIPROC_DIR" in os.environ:  # the metrics below open their files in it as they are defined
    Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).mkdir(parents=True, exist_ok=True)
_registry: Final = CollectorRegistry()


def _counter(name: str, says: str, *labels: str) -> Any:
    return Counter(name, says, labels, registry=_registry)


def _histogram(name: str, says: str, *labels: str, buckets: tuple[float, ...]) -> Any:
    return Histogram(name, says, labels, registry=_registry, buckets=buckets)


_jobs = _counter(
    "operations_jobs_total", "Jobs that entered a status, once for each entry.", "tenant", "type", "status"
)
_jobs_failed = _counter("operations_jobs_failed_total", "Jobs that failed or timed out, for good.", "tenant", "type")
_alerts = _counter("operations_alerts_total", "Alerts raised.", "severity")
_tickets_open = Gauge(
    "operations_tickets_open_total",
    "Tickets that are open now.",
    ["module"],
    registry=_registry,
    multiprocess_mode="mostrecent",  # whoever counted last, counted all of them in the database
)
_migrations = _counter("operations_migrations_total", "Migrations that entered a status.", "module", "status")
_migration_duration = _histogram(
    "operations_migration_duration_seconds",
    "How long a migration ran from its start to its end, without its pauses.",
    "module",
    "outcome",
    buckets=(1, 5, 15, 60, 300, 900, 3600, 14400, 43200, 86400, 604800),
)
_migration_progress = Gauge(
    "operations_migration_progress",
    "How far a module's newest migration is, from 0 to 1.",
    ["module"],
    registry=_registry,
    multiprocess_mode="mostrecent",  # the migrator reads it in the database
)
_migration_targets = Gauge(
    "operations_migration_targets",
    "Targets of migrations that are not over, by state.",
    ["state"],
    registry=_registry,
    multiprocess_mode="mostrecent",
)
_messages_refused = _counter(
    "operations_messages_refused_total", "Messages to workers that the plane did not sign; they ran nothing.", "task"
)
_event_delivery = _histogram(
    "operations_event_delivery_seconds",
    "From an event being written to its being delivered to a consumer of the log.",
    "consumer",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2, 5, 15, 60, 300, 3600),
)
_events_behind = Gauge(
    "operations_events_behind",
    "Numbered events that a consumer of the log was not delivered yet.",
    ["consumer"],
    registry=_registry,
    multiprocess_mode="mostrecent",
)
_reactions_failed = _counter(
    "operations_reactions_failed_total",
    "Reactions that failed at an event, by whether they will be tried again.",
    "reaction",
    "set_aside",
)
_components = Gauge(
    "operations_components",
    "Components of health by status, the platform's own and all tenants'.",
    ["status"],
    registry=_registry,
    multiprocess_mode="mostrecent",  # the watcher counts them in the database
)
_webhook_tries = _counter(
    "operations_webhook_tries_total", "Requests to webhooks' receivers, by what came of them.", "outcome"
)
_evidence_erased = _counter(
    "operations_evidence_erased_total", "Records of evidence whose bytes the plane erased, past their retention."
)
_log_lines_lost = _counter("operations_log_lines_lost_total", "Log lines that could not be written.")

# Each scale has a boundary at every objective it must show met or missed (target and ours).
_scheduling = _histogram(
    "operations_job_scheduling_seconds",
    "From the submission's arrival to the job being queued.",
    buckets=(0.002, 0.005, 0.01, 0.025, 0.06, 0.1, 0.2, 0.5, 1, 2.5),
)
_start_delay = _histogram(
    "operations_job_start_delay_seconds",
    "From a job being ready to run to its handler starting.",
    "priority",
    buckets=(0.005, 0.01, 0.02, 0.04, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800),
)
_duration = _histogram(
    "operations_job_duration_seconds",
    "How long a job's last attempt ran.",
    "type",
    "outcome",
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400),
)
_alert_delivery = _histogram(
    "operations_alert_delivery_seconds",
    "From an alert's arrival to its first delivery by any route.",
    "severity",
    buckets=(0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 60, 300),
)
_evidence_emission = _histogram(
    "operations_evidence_emission_seconds",
    "From a job's end to its evidence being accepted.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2, 5, 15, 60, 180, 900),
)
_audit_debt = Gauge(
    "operations_evidence_audit_debt",
    "Sealed evidence records that the sink was offered and has not accepted, with those behind them.",
    registry=_registry,
    multiprocess_mode="mostrecent",
)
_evidence_sealing = _histogram(
    "operations_evidence_sealing_seconds",
    "From an evidence record being written to its log's checkpoint being signed over it.",
    buckets=(0.1, 0.25, 0.5, 1, 2, 5, 15, 60, 600),
)
_heartbeat_age = _histogram(
    "operations_heartbeat_age_seconds",
    "How old a process's last heartbeat was when it was looked at.",
    "role",
    buckets=(1, 2, 5, 10, 15, 20, 30, 60, 120),
)

_known: dict[str, set[str]] = {"tenant": set(), "type": set(), "module": set()}


def _bounded(label: str, value: str) -> str:
    """Return `value` while its label has room: what callers choose freely must not fill the scraper's memory."""
    known = _known[label]
    if value not in known:
        if len(known) >= MOST_LABEL_VALUES:
            return OTHER
        known.add(value)
    return value


def job_entered(*, tenant_id: str, job_type: str, status: str) -> None:
    """Count a job entering `status`; `failed` and `timed_out` count as a failure as well. Call it after the commit."""
    tenant, kind = _bounded("tenant", tenant_id), _bounded("type", job_type)
    _jobs.labels(tenant=tenant, type=kind, status=status).inc()
    if status in FAILED:
        _jobs_failed.labels(tenant=tenant, type=kind).inc()


def alert_raised(*, severity: str) -> None:
    """Count an alert."""
    _alerts.labels(severity=severity).inc()


def tickets_open(*, module: str, count: int) -> None:
    """Say how many tickets of `module` are open now, as counted in the database."""
    _tickets_open.labels(module=_bounded("module", module)).set(count)


def migration_entered(*, status: str, module: str) -> None:
    """Count a migration entering `status`."""
    _migrations.labels(module=_bounded("module", module), status=status).inc()


def migration_ran(*, seconds: float, module: str, outcome: str) -> None:
    """Record how long a migration ran that is over now."""
    _migration_duration.labels(module=_bounded("module", module), outcome=outcome).observe(max(0.0, seconds))


def migrations_stand(*, progress: Mapping[str, float], targets: Mapping[str, int]) -> None:
    """Say how far each module's newest migration is, and how many targets are in which state, as the rows say."""
    for module, part in progress.items():
        _migration_progress.labels(module=_bounded("module", module)).set(part)
    for state, count in targets.items():
        _migration_targets.labels(state=state).set(count)


def message_refused(*, task: str) -> None:
    """Count a message whose MAC is not ours."""
    _messages_refused.labels(task=_bounded("type", task)).inc()


def event_delivered(*, seconds: float, consumer: str) -> None:
    """Record how long an event took to reach `consumer`."""
    _event_delivery.labels(consumer=consumer).observe(max(0.0, seconds))


def events_behind(*, count: int, consumer: str) -> None:
    """Say how many numbered events `consumer` was not delivered yet."""
    _events_behind.labels(consumer=consumer).set(max(0, count))


def reaction_failed(*, reaction: str, set_aside: bool) -> None:
    """Count a reaction that failed; `set_aside`: for good."""
    _reactions_failed.labels(reaction=reaction, set_aside=str(set_aside).lower()).inc()


def components_stand(counts: Mapping[str, int]) -> None:
    """Say how many components are in which status now, as counted in the database."""
    for status, count in counts.items():
        _components.labels(status=status).set(count)


def webhook_tried(*, outcome: str) -> None:
    """Count a request to a webhook's receiver: `accepted`, the class of its status (`5xx`), or why none came."""
    _webhook_tries.labels(outcome=outcome).inc()


def log_line_lost() -> None:
    """Count a log line that could not be written."""
    _log_lines_lost.inc()


def job_scheduled(*, seconds: float) -> None:
    """Record how long a submission took to become a queued job."""
    _scheduling.observe(max(0.0, seconds))


def job_started(*, seconds: float, priority: str) -> None:
    """Record how long a ready job waited for its handler to start."""
    _start_delay.labels(priority=priority).observe(max(0.0, seconds))


def job_ran(*, seconds: float, job_type: str, outcome: str) -> None:
    """Record how long a job's last attempt ran."""
    _duration.labels(type=_bounded("type", job_type), outcome=outcome).observe(max(0.0, seconds))


def alert_delivered(*, seconds: float, severity: str) -> None:
    """Record how long an alert took to reach somebody."""
    _alert_delivery.labels(severity=severity).observe(max(0.0, seconds))


def evidence_emitted(*, seconds: float) -> None:
    """Record how long after a job's end its evidence was accepted."""
    _evidence_emission.observe(max(0.0, seconds))


def audit_debt(*, records: int) -> None:
    """Say how many sealed records the sink does not accept now."""
    _audit_debt.set(records)


def evidence_sealed(*, seconds: float) -> None:
    """Observe how long a record waited for its seal."""
    _evidence_sealing.observe(seconds)


def evidence_erased(*, records: int) -> None:
    """Count records that lost their bytes: past their retention, and under no legal hold."""
    _evidence_erased.inc(records)


def heartbeat_seen(*, age_s: float, role: str) -> None:
    """Record the age of a process's last heartbeat."""
    _heartbeat_age.labels(role=role).observe(max(0.0, age_s))


class _Complete:
    """All metrics by name, a zero where nothing was counted yet: an absent series reads as a broken exporter."""

    def collect(self) -> Iterator[Any]:
        """Yield every defined metric with its samples, those of other processes included."""
        counted = {metric.name: metric for metric in self._counted()}
        for defined in _registry.collect():
            metric = counted.get(defined.name, defined)
            yield metric if metric.samples else _zero(defined)

    def _counted(self) -> Iterable[Any]:
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return []
        return list(MultiProcessCollector(None).collect())


def _zero(defined: Any) -> Any:
    """Return `defined` with the samples of a metric that has seen nothing."""
    metric = Metric(defined.name, defined.documentation, defined.type)
    if defined.type == "histogram":
        metric.add_sample(f"{defined.name}_bucket", {"le": "+Inf"}, 0)
        metric.add_sample(f"{defined.name}_count", {}, 0)
        metric.add_sample(f"{defined.name}_sum", {}, 0)
    else:
        metric.add_sample(f"{defined.name}_total" if defined.type == "counter" else defined.name, {}, 0)
    return metric


def exposition() -> bytes:
    """Return everything in Prometheus' text format 0.0.4 (`CONTENT_TYPE`)."""
    registry = CollectorRegistry()
    registry.register(_Complete())
    text: bytes = generate_latest(registry)
    return text


def process_ended(*, pid: int) -> None:
    """Forget what only a living process may say, after the process `pid` is gone. Its counts stay."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        mark_process_dead(pid)
