"""Database roles and what each may do: the whole matrix on one page, laid by `manage.py set_up` after migrating.

- `ops_owner` owns the tables and migrates them.
- `ops_app` answers requests: one tenant's rows at a time, by row-level security.
- `ops_control` is the loops' and workers' role: across tenants, but evidence and events are append-only for it too.
- `ops_operator` is entered by `SET LOCAL ROLE` for signed-in people: reads across tenants, writes configuration.

None of them can log in; the one login of `DATABASE_URL` is a member of all and enters one as it connects.
"""

from __future__ import annotations

from django.db.backends.utils import CursorWrapper

ROLES = ("ops_owner", "ops_app", "ops_control", "ops_operator")

CONFIGURATION = ("tenants", "memberships", "subscriptions", "plans", "contracts", "policies", "environments")
TENANT_OWNED = (
    "jobs",
    "job_dependencies",
    "attempts",
    "decisions",
    "log_chunks",
    "events",
    "evidence_records",
    "evidence_nodes",
    "evidence_checkpoints",
    "evidence_emissions",
    "evidence_outlets",
    "evidence_series",
    "evidence_series_members",
    "legal_holds",
    "idempotency_keys",
    "start_predictions",
    "gate_intervals",
    "pauses",
    "schedules",
    "schedule_fires",
    "triggers",
    "trigger_firings",
    "usage_daily",
    "webhooks",
    "webhook_deliveries",
    "health_status",
    "health_flips",
    "health_windows",
    "health_impacts",
    "recovery_receipts",
    "tickets",
    "ticket_entries",
    "ticket_watchers",
    "ticket_links",
    "sla_policies",
    "failed_reactions",
    "notifications",
    "notification_signals",
    "notification_deliveries",
    "notification_attempts",
    "notification_deadlines",
    "inbox_items",
    "migrations",
    "migration_approvals",
    "migration_waves",
    "migration_targets",
    "migration_steps",
)
WATCH = ("health_canaries", "health_watch", "process_orders")
# A channel's settings are sealed, and no request that a token makes reads them.
ROUTING = ("notification_channels", "notification_routes", "notification_silences")
TICKET_DESK = ("ticket_teams", "escalation_chains", "business_calendars")
LOOPS = ("processes", "event_consumers", "breakers", "leaders", "rate_buckets", "pool_loads")
PEOPLE = (
    "auth_user",
    "auth_group",
    "auth_permission",
    "auth_user_groups",
    "auth_user_user_permissions",
    "auth_group_permissions",
    "django_session",
    "django_admin_log",
    "django_content_type",
)
BEAT = (
    "django_celery_beat_periodictask",
    "django_celery_beat_periodictasks",
    "django_celery_beat_intervalschedule",
    "django_celery_beat_crontabschedule",
    "django_celery_beat_clockedschedule",
    "django_celery_beat_solarschedule",
)

GRANTS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("ops_app", "SELECT", (*CONFIGURATION, *TENANT_OWNED, "breakers", "processes", "django_migrations")),
    ("ops_app", "SELECT", ("rate_buckets", "pool_loads")),
    ("ops_app", "INSERT", ("start_predictions",)),
    (
        "ops_app",
        "INSERT",
        ("jobs", "job_dependencies", "decisions", "events", "evidence_records", "attempts", "processes"),
    ),
    ("ops_app", "UPDATE", ("jobs", "job_dependencies", "processes")),
    # Whoever is refused joins a series or begins one, and leaves one whose time is over; the sealer counts it.
    ("ops_app", "INSERT", ("evidence_series", "evidence_series_members")),
    ("ops_app", "UPDATE (joinable, closes_at)", ("evidence_series",)),
    ("ops_control", "UPDATE (joinable, closes_at, closed_at, count, counted_by_id)", ("evidence_series",)),
    ("ops_app", "INSERT, UPDATE", ("pauses", "schedules", "schedule_fires", "triggers")),
    ("ops_app", "INSERT, UPDATE", ("webhooks",)),
    ("ops_app", "UPDATE (state, tries, due_at, settled_at)", ("webhook_deliveries",)),
    ("ops_app", "INSERT, UPDATE, DELETE", ("idempotency_keys",)),
    ("ops_app", "INSERT, UPDATE", ("health_status", "health_windows")),
    ("ops_app", "INSERT", ("health_flips",)),
    ("ops_app", "SELECT", ("health_watch",)),
    ("ops_app", "SELECT", TICKET_DESK),
    ("ops_app", "INSERT, UPDATE", ("tickets",)),
    ("ops_app", "INSERT", ("ticket_entries", "ticket_links")),
    ("ops_app", "INSERT, DELETE", ("ticket_watchers",)),
    ("ops_app", "INSERT", ("notifications", "notification_signals", "notification_deadlines")),
    ("ops_app", "UPDATE", ("notifications",)),
    ("ops_app", "UPDATE (read_at, read_by)", ("inbox_items",)),
    # What is asked of a migration; what becomes of its waves and targets, which are many tenants', is the migrator's.
    ("ops_app", "INSERT, UPDATE", ("migrations",)),
    ("ops_app", "INSERT", ("migration_approvals",)),
    ("ops_control", "UPDATE", ("migrations", "migration_waves", "migration_targets", "migration_steps")),
    ("ops_app", "SELECT (channel_id, name, kind)", ("notification_channels",)),
    ("ops_control", "SELECT", (*CONFIGURATION, *TENANT_OWNED, *LOOPS, "django_migrations")),
    ("ops_control", "INSERT", (*TENANT_OWNED, *LOOPS)),
    ("ops_control", "UPDATE", ("jobs", "job_dependencies", "attempts", "gate_intervals", "usage_daily", *LOOPS)),
    ("ops_control", "UPDATE", ("pauses", "schedules", "schedule_fires", "trigger_firings")),
    ("ops_control", "UPDATE", ("webhooks",)),
    ("ops_control", "UPDATE, DELETE", ("webhook_deliveries",)),
    ("ops_control", "UPDATE, DELETE", ("health_windows", "health_impacts")),
    ("ops_control", "UPDATE", ("health_status", "recovery_receipts")),
    ("ops_control", "SELECT, INSERT, UPDATE, DELETE", WATCH),
    ("ops_control", "SELECT", ("recovery_policies",)),
    ("ops_control", "UPDATE, DELETE", ("idempotency_keys",)),  # purging locks what it deletes
    ("ops_control", "DELETE", ("processes", "gate_intervals", "start_predictions")),
    ("ops_control", "DELETE", ("rate_buckets",)),
    ("ops_control", "SELECT", TICKET_DESK),
    ("ops_control", "UPDATE", ("tickets",)),
    ("ops_control", "DELETE", ("ticket_watchers",)),
    ("ops_control", "UPDATE (sequence)", ("events",)),
    ("ops_control", "UPDATE", ("evidence_outlets",)),
    ("ops_control", "UPDATE, DELETE", ("failed_reactions",)),
    ("ops_operator", "UPDATE (again_at)", ("failed_reactions",)),
    # Payload and salt can only be erased, by a trigger of `evidence.0004_retention`; a tombstone has to explain it.
    ("ops_control", "UPDATE (number, payload, salt)", ("evidence_records",)),
    ("ops_control", "SELECT, INSERT, UPDATE, DELETE", BEAT),
    ("ops_control", "SELECT", ROUTING),
    ("ops_control", "INSERT, UPDATE", ("notification_channels",)),
    ("ops_control", "SELECT, INSERT, UPDATE, DELETE", ("notification_groups",)),
    (
        "ops_control",
        "UPDATE, DELETE",
        (
            "notifications",
            "notification_signals",
            "notification_deliveries",
            "notification_attempts",
            "notification_deadlines",
            "inbox_items",
        ),
    ),
    ("ops_operator", "INSERT, UPDATE", ("pauses", "legal_holds")),
    ("ops_operator", "INSERT, UPDATE", ("health_status", "health_windows", "recovery_receipts")),
    ("ops_operator", "INSERT", ("health_flips",)),
    ("ops_operator", "SELECT", WATCH),
    ("ops_operator", "SELECT, INSERT, UPDATE, DELETE", ("recovery_policies",)),
    ("ops_operator", "INSERT, UPDATE", ("notifications", "notification_signals", "notification_deadlines")),
    ("ops_operator", "UPDATE", ("inbox_items",)),
    ("ops_operator", "SELECT", ("notification_groups",)),
    ("ops_operator", "SELECT, INSERT, UPDATE, DELETE", ROUTING),
    ("ops_operator", "INSERT", ("events",)),  # by its policy, of what is no tenant's
    # The same of tickets that are no tenant's; a tenant's are acted on in the tenant's own context.
    ("ops_operator", "INSERT, UPDATE", ("tickets",)),
    ("ops_operator", "INSERT", ("ticket_entries", "ticket_links")),
    ("ops_operator", "INSERT, DELETE", ("ticket_watchers",)),
    ("ops_operator", "SELECT, INSERT, UPDATE, DELETE", (*TICKET_DESK, "sla_policies")),
    ("ops_operator", "SELECT", (*TENANT_OWNED, *LOOPS, "django_migrations")),
    ("ops_operator", "SELECT, INSERT, UPDATE, DELETE", (*CONFIGURATION, *PEOPLE, *BEAT)),
)


def create(cursor: CursorWrapper) -> None:
    """Create the roles that are missing and make the login a member; needs CREATEROLE (or an administrator's help)."""
    cursor.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", [list(ROLES)])
    existing = {name for (name,) in cursor.fetchall()}
    # From PostgreSQL 16 on, whoever creates a role administers it, which is not yet the right to enter it.
    privilege = "SET" if cursor.connection.info.server_version >= 160000 else "MEMBER"  # noqa: PLR2004
    for role in ROLES:
        if role not in existing:
            cursor.execute(f"CREATE ROLE {role} NOLOGIN NOBYPASSRLS")
        cursor.execute("SELECT pg_has_role(session_user, %s, %s)", [role, privilege])
        (member,) = cursor.fetchone() or (False,)
        if not member:
            cursor.execute(f"GRANT {role} TO CURRENT_USER")
    cursor.execute("GRANT USAGE, CREATE ON SCHEMA public TO ops_owner")
    cursor.execute("GRANT USAGE ON SCHEMA public TO ops_app, ops_control, ops_operator")


def grant(cursor: CursorWrapper) -> None:
    """Lay the matrix afresh: what is not on this page is taken away."""
    cursor.execute("SET ROLE ops_owner")
    try:
        cursor.execute("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC, ops_app, ops_control, ops_operator")
        for role, rights, tables in GRANTS:
            cursor.execute(f"GRANT {rights} ON {', '.join(tables)} TO {role}")
        cursor.execute("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO ops_app, ops_control, ops_operator")
    finally:
        cursor.execute("RESET ROLE")
