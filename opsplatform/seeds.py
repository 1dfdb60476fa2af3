"""What a fresh local plane knows: tenants, plans, environments, contracts and policies. Laid once, never overwritten.

Production gets the environments and the policy that keeps `ops.crash` in the sandbox; tenants and plans are its own.
"""

from __future__ import annotations

from apps.governance import operations as governance
from apps.governance.models import Policy
from apps.health.models import Policy as RecoveryPolicy
from apps.jobs.models import Environment
from apps.notifications import seeds as notification_seeds
from apps.notifications.operations.upkeep import ensure_inbox
from apps.subscription.models import Plan, Subscription
from apps.tenancy.models import Tenant

ENVIRONMENTS = {
    "default": {"queue": "ops.default", "slots": 1024, "reserved_slots": 1},
    "batch": {"queue": "ops.batch", "slots": 256, "reserved_slots": 0},
}
PLANS = {
    "gold": {"job_types": ["*"], "weight": 300, "max_running": 64, "jobs_per_day": None, "backlog_cap": 100_000},
    "basic": {
        "job_types": ["ops.*", "ingest.*", "sql.*", "migration.*"],
        "weight": 100,
        "max_running": 16,
        "jobs_per_day": 1_000,
        "backlog_cap": 10_000,
    },
    "drills": {"job_types": ["*"], "weight": 50, "max_running": 8, "jobs_per_day": None, "backlog_cap": 10_000},
}
TENANTS = {"acme": ("Acme Corporation", "gold"), "globex": ("Globex", "basic"), "sandbox": ("Drills", "drills")}

# What the plane does by itself about its own parts; further policies are an operator's to write (docs/health.md).
RECOVERY = {
    "reclaim-jobs": {
        "pattern": "operations/worker-*",
        "statuses": ["down", "degraded"],
        "reasons": ["lost"],
        "action": "reclaim_jobs",
        "cooldown_s": 10,
        "budget_per_hour": 30,
        "patience_s": 30,
    },
    "restart-deaf": {
        "pattern": "operations/worker-*",
        "statuses": ["down", "degraded"],
        "reasons": ["deaf"],
        "action": "restart_deaf",
        "cooldown_s": 60,
        "budget_per_hour": 4,
        "patience_s": 120,
    },
    "restart-pool": {
        "pattern": "operations/queue-*",
        "statuses": ["down"],
        "reasons": ["stalled"],
        "action": "restart_pool",
        "cooldown_s": 60,
        "budget_per_hour": 4,
        "patience_s": 120,
    },
}

SEATTLE_RAIN = {
    "description": "Rain in Seattle: days with precipitation and the year's total, from the daily weather dataset.",
    "kpi": {
        "name": "seattle-rain",
        "inputs": {"weather": "seattle-weather"},
        "sql": (
            "SELECT year(CAST(date AS DATE)) AS year, count(*) FILTER (WHERE precipitation > 0) AS rainy_days, "
            "round(sum(precipitation), 1) AS precipitation_mm FROM weather "
            "WHERE $period IS NULL OR CAST(year(CAST(date AS DATE)) AS VARCHAR) = $period "
            "GROUP BY ALL ORDER BY year"
        ),
        "output": "kpis/seattle-rain",
    },
}


def lay(*, local: bool, storage_url: str, email_url: str) -> None:
    """Insert what is missing; leave what is there as it is."""
    ensure_inbox()
    for name, values in ENVIRONMENTS.items():
        Environment.objects.get_or_create(name=name, defaults=values)
    Policy.objects.get_or_create(
        policy_id="crash-in-sandbox-only",
        defaults={
            "job_types": ["ops.crash"],
            "except_tenants": ["sandbox"],
            "reason_code": "drills_only",
            "reason": "ops.crash kills the process that runs it: only the tenant 'sandbox' may run it",
            "active": not local,
        },
    )
    for policy_id, terms in RECOVERY.items():
        RecoveryPolicy.objects.get_or_create(policy_id=policy_id, defaults=terms)
    if not local:
        return
    for plan_id, values in PLANS.items():
        Plan.objects.get_or_create(plan_id=plan_id, defaults=values)
    for tenant_id, (title, plan_id) in TENANTS.items():
        Tenant.objects.get_or_create(
            tenant_id=tenant_id, defaults={"name": title, "storage_url": f"{storage_url}/{tenant_id}"}
        )
        Subscription.objects.get_or_create(tenant_id=tenant_id, defaults={"plan_id": plan_id})
    notification_seeds.lay(email_url=email_url)
    governance.publish_contract(
        name="kpi.seattle-rain",
        version=1,
        job_types=["kpi.refresh"],
        document=SEATTLE_RAIN,
        obligations={"retention_days": 365},
    )
