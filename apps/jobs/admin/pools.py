"""Where jobs run: environments, which people configure, and the processes that beat, which they read."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db.models import ExpressionWrapper, F, QuerySet
from django.db.models.fields import DurationField
from django.http import HttpRequest
from unfold.contrib.filters.admin import ChoicesDropdownFilter

from apps.core.admin.fields import RowForm, WordsField, among
from apps.core.admin.markup import badge, mono, span
from apps.core.admin.pages import ConfigurationAdmin, RecordAdmin, column
from apps.core.database import ClockTimestamp
from apps.jobs.models import Environment, Pause, Process
from apps.jobs.operations import configure
from apps.tenancy.queries import tenant_ids

LEASE_COLOURS = {"live": "success", "draining": "warning", "lease expired": "danger", "gone": "default"}


class EnvironmentForm(RowForm[Environment]):
    """What people set about an environment."""

    allowed_tenants = WordsField(
        required=False, none_if_empty=True, help_text="Separated by commas; empty = every tenant"
    )

    class Meta:
        model = Environment
        fields = ("region", "slots", "reserved_slots", "allowed_tenants", "paused_until", "pause_reason")

    def clean(self) -> dict[str, Any]:
        """Refuse a reserve that does not fit, tenants that do not exist, and a pause that says nothing."""
        given = super().clean() or {}
        slots, reserved = given.get("slots"), given.get("reserved_slots")
        if slots is not None and reserved is not None and reserved > slots:
            self.add_error("reserved_slots", f"At most {slots} would be right: no more slots are there to be kept back")
        try:
            among(given.get("allowed_tenants"), known=tenant_ids(), what="tenant")
        except forms.ValidationError as error:
            self.add_error("allowed_tenants", error)
        if given.get("paused_until") and not given.get("pause_reason"):
            self.add_error("pause_reason", "Say why: whoever asks why a job waits reads this")
        return given


@admin.register(Environment)
class EnvironmentAdmin(ConfigurationAdmin[Environment]):
    """Environments. A new one begins with a queue and workers where the plane is deployed: a row alone runs nothing."""

    form = EnvironmentForm
    refusals = (configure.NoEnvironmentError,)
    list_display = ("name", "region", "queue", "slots", "reserved_slots", "shown_tenants", "standing")
    search_fields = ("name",)
    fields = ("name", "queue", "region", "slots", "reserved_slots", "allowed_tenants", "paused_until", "pause_reason")
    fixed = ("name", "queue")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Say no: the scheduler cannot publish to a queue that no worker declared."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Environment | None = None) -> bool:
        """Say no: jobs name it. Pause it, or give it no slots."""
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Environment]:
        """Return the environments with the time left of their pause."""
        left = ExpressionWrapper(F("paused_until") - ClockTimestamp(), DurationField())
        return super().get_queryset(request).annotate(pause_left=left)

    @column("Tenants")
    def shown_tenants(self, row: Environment) -> str:
        """Return for whom it is."""
        return "every tenant" if row.allowed_tenants is None else ", ".join(row.allowed_tenants)

    @column("State")
    def standing(self, row: Environment) -> Any:
        """Return whether it takes work."""
        left = row.pause_left  # type: ignore[attr-defined]  # annotated above
        if left is None or left.total_seconds() <= 0:
            return badge("open", "success")
        return badge(f"paused for {span(left)}: {row.pause_reason or 'no reason given'}", "warning")

    def save_model(self, request: HttpRequest, obj: Environment, form: Any, change: bool) -> None:
        """Set the environment."""
        names = ("region", "slots", "reserved_slots", "allowed_tenants", "paused_until", "pause_reason")
        configure.set_environment(
            name=obj.name, by=request.user.get_username(), **{name: form.cleaned_data[name] for name in names}
        )


@admin.register(Pause)
class PauseAdmin(RecordAdmin[Pause]):
    """Pauses, in force and over. They are begun and ended by request; an environment's also on its own page."""

    list_display = ("environment_id", "of_tenant", "type", "reason", "paused_by", "started_at", "until", "ended_at")
    list_display_links = ("started_at",)
    ordering = ("-pause_id",)
    search_fields = ("pause_id",)
    fields = (
        "pause_id", "environment_id", "of_tenant", "type", "reason", "paused_by", "started_at", "until", "ended_at",
        "ended_by",
    )  # fmt: skip

    @column("Tenant")
    def of_tenant(self, row: Pause) -> str | None:
        """Return the tenant's id."""
        return row.tenant_id


@admin.register(Process)
class ProcessAdmin(RecordAdmin[Process]):
    """Every process that beats or beat: a worker's row is the lease of the jobs it runs."""

    list_display = (
        "name", "role", "lease", "beat_ago", "lease_left", "host", "pid", "environment", "capacity", "started_at",
    )  # fmt: skip
    list_filter: ClassVar[tuple[Any, ...]] = (("state", ChoicesDropdownFilter),)
    search_fields = ("process_id",)
    search_help_text = "A whole process id (a job's worker id)"
    ordering = ("-started_at",)
    fields = (
        "shown_id", "name", "role", "lease", "beat_ago", "lease_left", "host", "pid", "environment", "capacity",
        "started_at", "beat_at", "lease_until",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Process]:
        """Return the processes with their ages by the database's clock."""
        now = ClockTimestamp()
        return (
            super()
            .get_queryset(request)
            .annotate(
                beat_age=ExpressionWrapper(now - F("beat_at"), DurationField()),
                left=ExpressionWrapper(F("lease_until") - now, DurationField()),
            )
        )

    @column("Process")
    def shown_id(self, row: Process) -> Any:
        """Return its id."""
        return mono(row.process_id)

    @column("State")
    def lease(self, row: Process) -> Any:
        """Return what it says of itself, unless its lease ran out meanwhile."""
        state = lease_state(state=row.state, left_s=row.left.total_seconds())  # type: ignore[attr-defined]
        return badge(state, LEASE_COLOURS[state])

    @column("Last beat")
    def beat_ago(self, row: Process) -> str:
        """Return the age of its last beat."""
        return f"{span(row.beat_age)} ago"  # type: ignore[attr-defined]

    @column("Lease")
    def lease_left(self, row: Process) -> str | None:
        """Return how long its lease still holds."""
        left = row.left  # type: ignore[attr-defined]
        return None if row.state == "gone" or left.total_seconds() <= 0 else f"{span(left)} left"


def lease_state(*, state: str, left_s: float) -> str:
    """Return a process's state as it is: one that neither beats nor said goodbye has an expired lease."""
    return "lease expired" if state != "gone" and left_s <= 0 else state
