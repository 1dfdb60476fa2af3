"""How the admin looks and what its sidebar says, in the field's terms. Names and addresses, no logic of the plane."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy


def _item(title: str, icon: str, model: str) -> dict[str, Any]:
    """Return a link to the list of `app_model`, shown to those who may see it."""
    app, _, name = model.rpartition("_")
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{model}_changelist"),
        "permission": _may_view(f"{app}.view_{name}"),
    }


def _may_view(permission: str) -> Callable[[HttpRequest], bool]:
    return lambda request: bool(request.user.has_perm(permission))


def _flower(request: HttpRequest) -> str:
    """Return where Flower is: beside us, on its own port."""
    host = request.get_host().rsplit(":", 1)[0]
    return f"http://{host}:{settings.ENVIRONMENT.flower_port}/"


def _style(_: HttpRequest) -> str:
    return static("opsplatform/admin.css")


def _mark(_: HttpRequest) -> str:
    return static("opsplatform/mark.svg")


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Platform Operations",
    "SITE_HEADER": "Platform Operations",
    "SITE_SUBHEADER": "Times are UTC",
    "SITE_SYMBOL": "account_tree",
    "SITE_URL": None,
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": True,
    "STYLES": [_style],
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": _mark}],
    "BORDER_RADIUS": "4px",
    "DASHBOARD_CALLBACK": "opsplatform.dashboard.fill",
    "COLORS": {
        "primary": {
            "50": "oklch(97.7% .013 236.62)",
            "100": "oklch(95.1% .026 236.824)",
            "200": "oklch(90.1% .058 230.902)",
            "300": "oklch(82.8% .111 230.318)",
            "400": "oklch(74.6% .16 232.661)",
            "500": "oklch(68.5% .169 237.323)",
            "600": "oklch(58.8% .158 241.966)",
            "700": "oklch(50% .134 242.749)",
            "800": "oklch(44.3% .11 240.79)",
            "900": "oklch(39.1% .09 240.876)",
            "950": "oklch(29.3% .066 243.157)",
        },
    },
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": [
            {
                "items": [{"title": "Overview", "icon": "dashboard", "link": reverse_lazy("admin:index")}],
            },
            {
                "title": "Jobs",
                "items": [
                    _item("Jobs", "work", "jobs_job"),
                    _item("Attempts", "replay", "jobs_attempt"),
                    _item("Decisions", "gavel", "jobs_decision"),
                    _item("Log chunks", "subject", "jobs_logchunk"),
                ],
            },
            {
                "title": "Schedules and triggers",
                "items": [
                    _item("Schedules", "schedule", "schedules_schedule"),
                    _item("Fires", "alarm_on", "schedules_fire"),
                    _item("Triggers", "bolt", "schedules_trigger"),
                    _item("Firings", "flash_on", "schedules_firing"),
                ],
            },
            {
                "title": "Webhooks",
                "items": [
                    _item("Webhooks", "webhook", "webhooks_webhook"),
                    _item("Deliveries", "outgoing_mail", "webhooks_delivery"),
                ],
            },
            {
                "title": "Health",
                "items": [
                    _item("Components", "monitor_heart", "health_component"),
                    _item("Flips", "swap_vert", "health_flip"),
                    _item("Recovery policies", "healing", "health_policy"),
                    _item("Recoveries", "receipt_long", "health_receipt"),
                    _item("Canaries", "flutter_dash", "health_canary"),
                    _item("Orders to processes", "assignment", "health_order"),
                    _item("Measures", "timeline", "health_minutewindow"),
                    _item("Impacts", "radar", "health_impact"),
                    _item("The watch", "visibility", "health_watch"),
                ],
            },
            {
                "title": "Notifications",
                "items": [
                    _item("Notifications", "notifications", "notifications_notification"),
                    _item("Inbox", "inbox", "notifications_inboxitem"),
                    _item("Deliveries", "send", "notifications_delivery"),
                    _item("Attempts", "replay", "notifications_attempt"),
                    _item("Signals", "sensors", "notifications_signal"),
                    _item("Promises", "timer", "notifications_deadline"),
                    _item("Channels", "cell_tower", "notifications_channel"),
                    _item("Routes", "alt_route", "notifications_route"),
                    _item("Silences", "notifications_off", "notifications_silence"),
                    _item("Groups", "workspaces", "notifications_group"),
                ],
            },
            {
                "title": "Tickets",
                "items": [
                    _item("Tickets", "confirmation_number", "tickets_ticket"),
                    _item("Entries", "history", "tickets_entry"),
                    _item("Links", "link", "tickets_link"),
                    _item("Watchers", "visibility", "tickets_watcher"),
                    _item("Teams", "groups", "tickets_team"),
                    _item("Escalation chains", "escalator_warning", "tickets_escalationchain"),
                    _item("Calendars", "calendar_month", "tickets_businesscalendar"),
                    _item("SLA policies", "timer", "tickets_slapolicy"),
                ],
            },
            {
                "title": "Migrations",
                "items": [
                    _item("Migrations", "upgrade", "migrations_migration"),
                    _item("Targets", "my_location", "migrations_target"),
                    _item("Steps", "stairs", "migrations_step"),
                    _item("Waves", "waves", "migrations_wave"),
                    _item("Approvals", "how_to_reg", "migrations_approval"),
                ],
            },
            {
                "title": "Runtime",
                "items": [
                    _item("Environments", "dns", "jobs_environment"),
                    _item("Pauses", "pause_circle", "jobs_pause"),
                    _item("Processes", "memory", "jobs_process"),
                    {"title": "Flower", "icon": "open_in_new", "link": _flower},
                ],
            },
            {
                "title": "Tenants and plans",
                "items": [
                    _item("Tenants", "apartment", "tenancy_tenant"),
                    _item("Members", "badge", "tenancy_membership"),
                    {"title": "Tenants' pages", "icon": "open_in_new", "link": reverse_lazy("console:home")},
                    _item("Subscriptions", "card_membership", "subscription_subscription"),
                    _item("Plans", "price_check", "subscription_plan"),
                ],
            },
            {
                "title": "Governance",
                "items": [
                    _item("Contracts", "contract", "governance_contract"),
                    _item("Policies", "policy", "governance_policy"),
                ],
            },
            {
                "title": "Log and proof",
                "items": [
                    _item("Events", "stream", "events_event"),
                    _item("Consumers", "sync_alt", "events_consumer"),
                    _item("Evidence", "verified", "evidence_record"),
                    _item("Checkpoints", "approval", "evidence_sealedcheckpoint"),
                    _item("Tree nodes", "account_tree", "evidence_nodes"),
                    _item("Legal holds", "gavel", "evidence_legalhold"),
                ],
            },
            {
                "title": "People",
                "items": [
                    _item("People", "person", "auth_user"),
                    _item("Groups", "group", "auth_group"),
                    _item("Changes", "history", "admin_logentry"),
                ],
            },
            {
                "title": "Beat schedules",
                "collapsible": True,
                "items": [
                    _item("Periodic tasks", "schedule", "django_celery_beat_periodictask"),
                    _item("Intervals", "timer", "django_celery_beat_intervalschedule"),
                    _item("Crontabs", "calendar_month", "django_celery_beat_crontabschedule"),
                    _item("Solar events", "light_mode", "django_celery_beat_solarschedule"),
                    _item("Clocked", "alarm", "django_celery_beat_clockedschedule"),
                ],
            },
            {
                "title": "API",
                "items": [{"title": "API documents", "icon": "api", "link": reverse_lazy("docs")}],
            },
        ],
    },
}
