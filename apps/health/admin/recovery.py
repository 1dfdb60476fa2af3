"""Recovery policies as operators write and rehearse them, and the receipts of what was done."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter

from apps.core.admin.fields import JSONObjectField, RowForm, WordsField, among
from apps.core.admin.lists import SinceFilter
from apps.core.admin.markup import as_json, brief, link, mono
from apps.core.admin.pages import ConfigurationAdmin, RecordAdmin, column
from apps.health import actions
from apps.health.models import Component, Order, Policy, Receipt
from apps.health.operations import configure, recovery

OUTCOMES = {
    "running": "info",
    "helped": "success",
    "did_not_help": "danger",
    "failed": "danger",
    "exhausted": "warning",
    "rehearsed": "default",
    "unknown": "primary",
}
WORDS = (
    "pattern", "statuses", "reasons", "after_s", "action", "params", "cooldown_s", "budget_per_hour", "patience_s",
    "enabled", "dry_run",
)  # fmt: skip
LONGEST_S = 31 * 86_400
ALARMING = ("degraded", "down", "unknown")


class PolicyForm(RowForm[Policy]):
    """When which action is taken."""

    statuses = WordsField(help_text="degraded, down, unknown")
    reasons = WordsField(required=False, help_text="codes such as lost, stalled, timeout; empty = any")
    action = forms.ChoiceField()
    params = JSONObjectField(required=False, rows=4)

    class Meta:
        model = Policy
        fields = ("policy_id", *WORDS)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if "action" in self.fields:
            self.fields["action"].choices = [(name, name) for name in actions.names()]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        """Refuse times that no clock can count with."""
        given = super().clean() or {}
        for name in ("after_s", "cooldown_s", "patience_s"):
            if not 0 <= (given.get(name) or 0) <= LONGEST_S:
                self.add_error(name, f"0 to {LONGEST_S} seconds would be right")
        return given

    def clean_statuses(self) -> list[str]:
        """Refuse a status that calls for nothing."""
        words: list[str] = self.cleaned_data["statuses"] or []
        among(words, known=ALARMING, what="status that calls for recovery")
        return words


@admin.register(Policy)
class PolicyAdmin(ConfigurationAdmin[Policy]):
    """Recovery policies. Rehearsing one writes what it would do to whatever is not well now, and does nothing."""

    form = PolicyForm
    list_display = ("policy_id", "pattern", "condition", "action", "cooldown_s", "budget_per_hour", "shown_mode")
    search_fields = ("policy_id",)
    ordering = ("policy_id",)
    fieldsets = (
        (None, {"fields": ("policy_id", "pattern", "statuses", "reasons", "after_s")}),
        ("Does", {"fields": ("action", "params", "enabled", "dry_run")}),
        ("Within", {"fields": ("cooldown_s", "budget_per_hour", "patience_s")}),
        ("Until now", {"fields": ("changed_by", "changed_at")}),
    )
    fixed = ("policy_id",)
    told = ("changed_by", "changed_at")
    actions = ("rehearse",)

    @column("When")
    def condition(self, row: Policy) -> str:
        """Return its condition in words."""
        why = f" for {', '.join(row.reasons)}" if row.reasons else ""
        return f"{' or '.join(row.statuses)}{why}"

    @column("Mode", label={"acts": "success", "rehearses": "info", "off": "warning"})
    def shown_mode(self, row: Policy) -> str:
        """Return whether it acts."""
        if not row.enabled:
            return "off"
        return "rehearses" if row.dry_run else "acts"

    @admin.action(description="Rehearse: say what it would do now", permissions=["change"])
    def rehearse(self, request: HttpRequest, chosen: QuerySet[Policy]) -> None:
        """Write a receipt for each component they would act on now; do nothing."""
        for row in chosen:
            would = recovery.rehearse_now(row, by=f"by:{request.user.get_username()}")
            said = ", ".join(f"{each.component} ({each.facts['verdict']})" for each in would)
            nothing = "nothing that it covers is in its condition now"
            messages.info(request, f"{row}: {row.action} on {said}" if would else f"{row}: {nothing}")

    def save_model(self, request: HttpRequest, obj: Policy, form: Any, change: bool) -> None:
        """Write the policy."""
        values = {name: form.cleaned_data[name] for name in WORDS}
        values["reasons"] = values["reasons"] or []
        configure.set_policy(policy_id=obj.policy_id, values=values, by=request.user.get_username())


@admin.register(Receipt)
class ReceiptAdmin(RecordAdmin[Receipt]):
    """What was done about what was not well, newest first, and whether it helped."""

    list_display = (
        "begun_at", "shown_component", "of_tenant", "policy", "action", "shown_condition", "shown_outcome",
        "shown_facts",
    )  # fmt: skip
    list_filter: ClassVar[tuple[Any, ...]] = (
        ("outcome", ChoicesDropdownFilter),
        ("component", AutocompleteSelectFilter),
        SinceFilter,
    )
    list_select_related = ("component",)
    search_fields = ("receipt_id",)
    ordering = ("-receipt_id",)
    fields = (
        "shown_id", "shown_component", "of_tenant", "policy", "action", "whole_params", "whole_condition",
        "shown_outcome", "whole_facts", "whole_proof", "dry_run", "begun_at", "acted_at", "prove_by", "settled_at",
        "region", "classification",
    )  # fmt: skip

    @column("Receipt")
    def shown_id(self, row: Receipt) -> Any:
        """Return its id."""
        return mono(row.receipt_id)

    @column("Component")
    def shown_component(self, row: Receipt) -> Any:
        """Return the way to its component."""
        return link(Component, row.component_id, str(row.component))

    @column("Tenant")
    def of_tenant(self, row: Receipt) -> str:
        """Return whose it is."""
        return row.tenant_id or "the platform"

    @column("Condition")
    def shown_condition(self, row: Receipt) -> str:
        """Return what called for it, in brief."""
        return brief({name: row.condition.get(name) for name in ("status", "reason")})

    @column("Outcome", label=OUTCOMES)
    def shown_outcome(self, row: Receipt) -> str:
        """Return whether it helped."""
        return row.outcome

    @column("Did")
    def shown_facts(self, row: Receipt) -> str:
        """Return what it did, in brief."""
        return brief(row.facts)

    @column("Params")
    def whole_params(self, row: Receipt) -> Any:
        """Return by what words it was done."""
        return as_json(row.params)

    @column("Condition")
    def whole_condition(self, row: Receipt) -> Any:
        """Return what called for it."""
        return as_json(row.condition)

    @column("Did")
    def whole_facts(self, row: Receipt) -> Any:
        """Return what it did."""
        return as_json(row.facts)

    @column("Proof")
    def whole_proof(self, row: Receipt) -> Any:
        """Return how the component stands since."""
        return as_json(row.proof)


@admin.register(Order)
class OrderAdmin(RecordAdmin[Order]):
    """Orders to processes, and whether they were obeyed."""

    list_display = ("ordered_at", "kind", "process_id", "reason", "ordered_by", "obeyed_at")
    search_fields = ("order_id", "process_id")
    ordering = ("-order_id",)
    fields = ("order_id", "process_id", "kind", "reason", "ordered_by", "ordered_at", "obeyed_at")
