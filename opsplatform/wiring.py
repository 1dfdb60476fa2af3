"""THE page that ties the house together: job types and their handlers, decision points, and what reacts to which event.

Nothing else knows both ends. Calls go down the layers; what has to go up goes through here.
"""

from __future__ import annotations

from django.conf import settings

from apps.health import actions
from apps.jobs import points, types
from apps.notifications import kinds
from opsplatform import decision_points

# The built-in job types: a module each. Others come by entry point, or by OPS_JOB_TYPES.
JOB_TYPES = (
    "workers.catalog.ops",
    "workers.catalog.ingest_file",
    "workers.catalog.sql_transform",
    "workers.catalog.kpi_refresh",
    "workers.catalog.contract_run",
    "workers.catalog.data_check",
    "workers.catalog.dataset_promote",
    "workers.catalog.ingest_http",
    "workers.catalog.ingest_postgres",
    "workers.catalog.http_call",
    "workers.catalog.migration_step",
)

# The kinds of notification channels: a module each.
CHANNELS = (
    "workers.channels.inbox",
    "workers.channels.email",
    "workers.channels.webhook",
    "workers.channels.pagerduty",
    "workers.channels.slack",
    "workers.channels.apprise",
)

MIGRATION_MOVED = "apps.migrations.reactions.on_moved"
MIGRATION_NEWS = ("apps.notifications.reactions.on_migration_news", "apps.tickets.reactions.on_migration_news")
MIGRATION_TARGET = ("apps.notifications.reactions.on_migration_target",)
TICKET_NEWS = ("apps.tickets.reactions.on_ticket_news",)

# Event type → what reacts to it, by dotted path. Every event is heard by the stream and the log besides.
REACTIONS: dict[str, tuple[str, ...]] = {
    "operations.job.failed": (
        "apps.notifications.reactions.on_job_failed",
        "apps.tickets.reactions.on_job_ended",
    ),
    "operations.job.completed": ("apps.tickets.reactions.on_job_ended",),
    "operations.health.degraded": ("apps.notifications.reactions.on_health_degraded",),
    "operations.health.recovered": ("apps.notifications.reactions.on_health_recovered",),
    "operations.health.distrusted": ("apps.notifications.reactions.on_health_distrusted",),
    "operations.health.trusted": ("apps.notifications.reactions.on_health_trusted",),
    "operations.health.recovery_exhausted": ("apps.tickets.reactions.on_recovery_exhausted",),
    "operations.alert.undelivered": ("apps.tickets.reactions.on_alert_undelivered",),
    "operations.migration.planned": (MIGRATION_MOVED,),
    "operations.migration.started": (MIGRATION_MOVED,),
    "operations.migration.stalled": MIGRATION_NEWS,
    "operations.migration.paused": (MIGRATION_MOVED, *MIGRATION_NEWS),
    "operations.migration.inconclusive": (MIGRATION_MOVED, *MIGRATION_NEWS),
    "operations.migration.resumed": (MIGRATION_MOVED, *MIGRATION_NEWS),
    "operations.migration.aborting": (MIGRATION_MOVED, *MIGRATION_NEWS),
    "operations.migration.reverting": (MIGRATION_MOVED, *MIGRATION_NEWS),
    "operations.migration.reverted": (MIGRATION_MOVED, *MIGRATION_NEWS),
    "operations.migration.completed": (MIGRATION_MOVED, *MIGRATION_NEWS),
    "operations.migration.failed": (MIGRATION_MOVED, *MIGRATION_NEWS),
    "operations.migration.target_failed": MIGRATION_TARGET,
    "operations.migration.target_set_aside": MIGRATION_TARGET,
    "operations.migration.target_upgraded": MIGRATION_TARGET,
    "operations.migration.target_reverted": MIGRATION_TARGET,
    "operations.ticket.acknowledged": TICKET_NEWS,
    "operations.ticket.assigned": TICKET_NEWS,
    "operations.ticket.escalated": TICKET_NEWS,
    "operations.ticket.mentioned": TICKET_NEWS,
    "operations.ticket.merged": TICKET_NEWS,
    "operations.ticket.resolved": TICKET_NEWS,
    "operations.ticket.sla_breached": TICKET_NEWS,
}

# Recovery action → function, by dotted path: what a policy of `recovery_policies` may call for.
RECOVERY_ACTIONS: dict[str, str] = {
    "reclaim_jobs": "workers.remedies.reclaim_jobs",
    "restart_pool": "workers.remedies.restart_pool",
    "restart_deaf": "workers.remedies.restart_deaf",
    "pause_environment": "workers.remedies.pause_environment",
    "reroute_environment": "workers.remedies.reroute_environment",
    "shed_bulk": "workers.remedies.shed_bulk",
    "call_webhook": "workers.remedies.call_webhook",
}


def install() -> None:
    """Load the job types (a bad one ends the process, by name), say who decides and what recovery can do."""
    types.load(modules=(*JOB_TYPES, *settings.ENVIRONMENT.job_types))
    kinds.load(CHANNELS)
    points.install(decision_points.chosen(settings.ENVIRONMENT))
    actions.install(RECOVERY_ACTIONS)
