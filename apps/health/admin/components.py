"""Components as operators see them: how each stands and stood; they are paused, resumed, agreed on, probed here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter

from apps.core.admin.fields import JSONObjectField, RowForm, WordsField
from apps.core.admin.lists import SinceFilter
from apps.core.admin.markup import link, listing, mono
from apps.core.admin.pages import ConfigurationAdmin, RecordAdmin, column
from apps.health import windows
from apps.health.models import Canary, Component, Flip, Impact, MinuteWindow, Watch
from apps.health.operations import configure

COLOURS = {
    "new": "info",
    "up": "success",
    "grace": "warning",
    "degraded": "warning",
    "down": "danger",
    "paused": "default",
    "unknown": "primary",
}
TERMS = (
    "kind", "interval_s", "grace_s", "failure_threshold", "success_threshold", "expected", "depends_on",
    "max_error_rate", "max_latency_ms", "classification", "probe",
)  # fmt: skip
LONGEST_S = 31 * 86_400
STANDS = ("shown_status", "reason", "since", "last_check", "muted", "shown_rate", "blast", "ways")
PROBE = (
    'What the plane asks it every interval: {"url": …} for http, {"host": …, "port": …} for tcp, {"source": a name in'
    ' OPS_SECRETS, "query": …} for sql; empty = it reports by itself'
)


class ComponentForm(RowForm[Component]):
    """What people agree on about a component."""

    depends_on = WordsField(required=False, help_text="module/component, separated by commas")
    probe = JSONObjectField(required=False, rows=4, help_text=PROBE)

    class Meta:
        model = Component
        fields = ("tenant", "module", "component", *TERMS)

    def clean(self) -> dict[str, Any]:
        """Refuse a probe that says too little, or of a kind that is not asked."""
        given = super().clean() or {}
        for name in ("interval_s", "grace_s"):
            if not 0 <= (given.get(name) or 0) <= LONGEST_S:
                self.add_error(name, f"0 to {LONGEST_S} seconds would be right")
        kind, probe = given.get("kind"), given.get("probe") or None
        wanted = configure.PROBED.get(str(kind))
        if wanted is None and probe:
            self.add_error("probe", f"A component of kind {kind} reports by itself: http, tcp or sql would be right")
        elif wanted is not None and not wanted <= set(probe or {}):
            self.add_error("probe", f"Named here must be: {', '.join(sorted(wanted))}")
        given["probe"] = probe
        given["depends_on"] = given.get("depends_on") or []
        return given


@admin.register(Component)
class ComponentAdmin(ConfigurationAdmin[Component]):
    """Components. What one is changed to here, its module no longer changes."""

    form = ComponentForm
    refusals = (configure.NoComponentError,)
    list_display = (
        "shown_name", "of_tenant", "shown_status", "reason", "since", "last_check", "latency", "shown_rate", "muted",
        "expected",
    )  # fmt: skip
    list_filter: ClassVar[tuple[Any, ...]] = (
        ("status", ChoicesDropdownFilter),
        ("kind", ChoicesDropdownFilter),
        ("tenant", AutocompleteSelectFilter),
    )
    search_fields = ("module", "component")
    ordering = ("module", "component")
    fieldsets = (
        (None, {"fields": ("tenant", "module", "component")}),
        (
            "Stands",
            {"fields": STANDS},
        ),
        ("Agreed", {"fields": (*TERMS, "declared_by", "version", "region")}),
    )
    fixed = ("tenant", "module", "component")
    told = (*STANDS, "declared_by", "version", "region")
    actions = ("pause", "resume", "forget")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Component]:
        """Return the components that are there."""
        return super().get_queryset(request).filter(deleted_at=None)

    @column("Component")
    def shown_name(self, row: Component) -> str:
        """Return its name."""
        return str(row)

    @column("Tenant")
    def of_tenant(self, row: Component) -> str:
        """Return whose it is."""
        return row.tenant_id or "the platform"

    @column("Status", label=COLOURS)
    def shown_status(self, row: Component) -> str:
        """Return its status."""
        return row.status

    @column("Errors, 15 min")
    def shown_rate(self, row: Component) -> str | None:
        """Return its error rate with what it is made of."""
        return None if row.error_rate is None else f"{100 * row.error_rate:.1f} % ({row.errors} of {row.checks})"

    @column("Muted by")
    def muted(self, row: Component) -> str:
        """Return what it suffers from."""
        return ", ".join(row.muted_by)

    @column("Blast radius")
    def blast(self, row: Component) -> str:
        """Return whom its outage hits."""
        return f"{row.affected_tenants} tenants with {row.affected_jobs} unfinished jobs"

    @column("History")
    def ways(self, row: Component) -> Any:
        """Return the way to its flips."""
        return listing(Flip, "Flips of this component", component__component_id__exact=row.component_id)

    @admin.action(description="Pause: let nobody worry until resumed", permissions=["change"])
    def pause(self, request: HttpRequest, chosen: QuerySet[Component]) -> None:
        """Let nobody worry about them until they are resumed."""
        self._act(request, chosen, act=configure.pause)

    @admin.action(description="Resume: await anew", permissions=["change"])
    def resume(self, request: HttpRequest, chosen: QuerySet[Component]) -> None:
        """Await them anew."""
        self._act(request, chosen, act=configure.resume)

    @admin.action(description="Forget, until heard of again", permissions=["change"])
    def forget(self, request: HttpRequest, chosen: QuerySet[Component]) -> None:
        """Forget them, until they are heard of again."""
        self._act(request, chosen, act=configure.remove)

    def has_delete_permission(self, request: HttpRequest, obj: Component | None = None) -> bool:
        """Say no: its history stays. Forget it instead."""
        return False

    def save_model(self, request: HttpRequest, obj: Component, form: Any, change: bool) -> None:
        """Agree on terms, or register a component."""
        by = request.user.get_username()
        values = {name: form.cleaned_data[name] for name in TERMS}
        if change:
            configure.set_terms(component_id=obj.component_id, values=values, by=by)
            return
        given = form.cleaned_data
        tenant = given.get("tenant")
        obj.component_id = configure.declare(
            tenant_id=tenant.tenant_id if tenant else None,
            module=given["module"],
            component=given["component"],
            values={**values, "region": tenant.region if tenant else "local"},
            by=by,
        )

    def _act(self, request: HttpRequest, chosen: QuerySet[Component], *, act: Callable[..., None]) -> None:
        for row in chosen:
            act(component_id=row.component_id)
        messages.success(request, f"Done: {', '.join(str(row) for row in chosen)}")


@admin.register(Flip)
class FlipAdmin(RecordAdmin[Flip]):
    """Changes of status, newest first."""

    list_display = ("at", "shown_component", "of_tenant", "shown_old", "shown_new", "reason", "noticed_at", "muted")
    list_filter: ClassVar[tuple[Any, ...]] = (
        ("new", ChoicesDropdownFilter),
        ("component", AutocompleteSelectFilter),
        SinceFilter,
    )
    list_select_related = ("component",)
    search_fields = ("flip_id",)
    ordering = ("-flip_id",)
    fields = (
        "flip_id", "shown_component", "of_tenant", "shown_old", "shown_new", "reason", "at", "noticed_at", "muted",
        "region", "classification",
    )  # fmt: skip

    @column("Component")
    def shown_component(self, row: Flip) -> Any:
        """Return the way to its component."""
        return link(Component, row.component_id, str(row.component))

    @column("Tenant")
    def of_tenant(self, row: Flip) -> str:
        """Return whose it is."""
        return row.tenant_id or "the platform"

    @column("From", label=COLOURS)
    def shown_old(self, row: Flip) -> str:
        """Return what it was."""
        return row.old

    @column("To", label=COLOURS)
    def shown_new(self, row: Flip) -> str:
        """Return what it became."""
        return row.new

    @column("Muted by")
    def muted(self, row: Flip) -> str:
        """Return what it suffered from."""
        return ", ".join(row.muted_by)


@admin.register(MinuteWindow)
class MinuteWindowAdmin(RecordAdmin[MinuteWindow]):
    """Measures, a row a component and minute."""

    list_display = ("minute", "shown_component", "checks", "errors", "p95")
    list_select_related = ("component",)
    list_filter = (("component", AutocompleteSelectFilter),)
    ordering = ("-minute",)
    fields = ("minute", "shown_component", "checks", "errors", "p95")

    @column("Component")
    def shown_component(self, row: MinuteWindow) -> Any:
        """Return the way to its component."""
        return link(Component, row.component_id, str(row.component))

    @column("95th percentile, ms")
    def p95(self, row: MinuteWindow) -> float | None:
        """Return the latency that few exceeded."""
        return windows.percentile(row.latencies, share=0.95)


@admin.register(Impact)
class ImpactAdmin(RecordAdmin[Impact]):
    """Whose unfinished work is where something is not well."""

    list_display = ("tenant_id", "shown_component", "jobs", "seen_at")
    list_select_related = ("component",)
    ordering = ("tenant_id",)
    fields = ("tenant_id", "shown_component", "jobs", "seen_at")

    @column("Component")
    def shown_component(self, row: Impact) -> Any:
        """Return the way to its component."""
        return link(Component, row.component_id, str(row.component))


@admin.register(Canary)
class CanaryAdmin(RecordAdmin[Canary]):
    """Canaries, newest first: enqueued, started, committed."""

    list_display = ("enqueued_at", "queue", "shown_word", "started_at", "committed_at", "took")
    search_fields = ("canary_id", "process_id")
    ordering = ("-canary_id",)
    fields = (
        "shown_id", "queue", "shown_word", "enqueued_at", "sent", "started_at", "committed_at", "process_id",
        "settled_at",
    )  # fmt: skip

    @column("Canary")
    def shown_id(self, row: Canary) -> Any:
        """Return its id."""
        return mono(row.canary_id)

    @column("Said", label={"answered": "success", "stalled": "danger", "busy": "warning", "waiting": "info"})
    def shown_word(self, row: Canary) -> str:
        """Return what came of it."""
        return row.word

    @column("Took")
    def took(self, row: Canary) -> str | None:
        """Return the time from the queue to the commit."""
        if row.committed_at is None:
            return None
        return f"{(row.committed_at - row.enqueued_at).total_seconds() * 1000:.0f} ms"


@admin.register(Watch)
class WatchAdmin(RecordAdmin[Watch]):
    """The watcher itself: when it looked last, and whether it trusts its ears."""

    list_display = ("name", "looked_at", "distrusted_since", "reason")
    ordering = ("name",)
    fields = ("name", "looked_at", "distrusted_since", "troubled_at", "reason")
