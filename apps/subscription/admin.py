"""Admin pages of Subscription's catalogue: plans, and who is on which."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from apps.core.admin.fields import RowForm, WordsField, patterns
from apps.core.admin.pages import ConfigurationAdmin, column
from apps.core.rate import parse_rate
from apps.subscription import operations
from apps.subscription.models import Plan, Subscription


class PlanForm(RowForm[Plan]):
    """A plan's entitlements and limits."""

    job_types = WordsField(help_text="Separated by commas, such as “ops.*”, or “*” for all", validators=[patterns])

    class Meta:
        model = Plan
        fields = ("plan_id", "job_types", "weight", "max_running", "jobs_per_day", "backlog_cap", "audit_debt", "rate")

    def clean_weight(self) -> int:
        """Refuse a weight of nothing: a share of nothing would never be served."""
        weight: int = self.cleaned_data["weight"]
        if weight < 1:
            raise forms.ValidationError("1 or more would be right: a tenant without a share is never served")
        return weight

    def clean_max_running(self) -> int:
        """Refuse no slots: work would wait for ever; ending the subscription refuses it."""
        slots: int = self.cleaned_data["max_running"]
        if slots < 1:
            raise forms.ValidationError(
                "1 or more would be right: to stop a tenant, suspend it or end its subscription"
            )
        return slots

    def clean_rate(self) -> str | None:
        """Refuse what is no rate."""
        rate: str | None = self.cleaned_data["rate"] or None
        try:
            if rate is not None:
                parse_rate(rate)
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error
        return rate


@admin.register(Plan)
class PlanAdmin(ConfigurationAdmin[Plan]):
    """Plans: what may run, and how much of it."""

    form = PlanForm
    list_display = (
        "plan_id",
        "shown_types",
        "weight",
        "max_running",
        "shown_per_day",
        "backlog_cap",
        "audit_debt",
        "shown_rate",
        "changed_at",
    )
    search_fields = ("plan_id",)
    fields = (
        "plan_id",
        "job_types",
        "weight",
        "max_running",
        "jobs_per_day",
        "backlog_cap",
        "audit_debt",
        "rate",
        "changed_at",
    )
    fixed = ("plan_id",)
    told = ("changed_at",)

    @column("Job types")
    def shown_types(self, row: Plan) -> str:
        """Return the patterns."""
        return ", ".join(row.job_types)

    @column("Jobs per day", ordering="jobs_per_day")
    def shown_per_day(self, row: Plan) -> str:
        """Return the daily limit."""
        return "no limit" if row.jobs_per_day is None else str(row.jobs_per_day)

    @column("Rate", ordering="rate")
    def shown_rate(self, row: Plan) -> str:
        """Return how many jobs are handed out in a time."""
        return row.rate or "no limit"

    def save_model(self, request: HttpRequest, obj: Plan, form: Any, change: bool) -> None:
        """Lay the plan down."""
        names = ("job_types", "weight", "max_running", "jobs_per_day", "backlog_cap", "audit_debt", "rate")
        operations.put_plan(plan_id=obj.plan_id, **{name: form.cleaned_data[name] for name in names})

    def delete_model(self, request: HttpRequest, obj: Plan) -> None:
        """Remove the plan; Django's page has said who is still on it."""
        operations.remove_plan(plan_id=obj.plan_id)


@admin.register(Subscription)
class SubscriptionAdmin(ConfigurationAdmin[Subscription]):
    """Who is on which plan. A subscription is ended, not deleted, so that its tenant reads why work is refused."""

    list_display = ("tenant", "plan", "standing", "valid_until", "changed_at")
    list_select_related = ("tenant", "plan")
    list_filter = ("plan", "state")
    search_fields = ("tenant__tenant_id",)
    ordering = ("tenant_id",)
    autocomplete_fields = ("tenant",)
    fields = ("tenant", "plan", "state", "valid_until", "changed_at")
    fixed = ("tenant",)
    told = ("changed_at",)

    @column("State", label={"active": "success", "ended": "danger"}, ordering="state")
    def standing(self, row: Subscription) -> str:
        """Return the state."""
        return row.state

    def has_delete_permission(self, request: HttpRequest, obj: Subscription | None = None) -> bool:
        """Say no: end it."""
        return False

    def save_model(self, request: HttpRequest, obj: Subscription, form: Any, change: bool) -> None:
        """Subscribe."""
        operations.subscribe(
            tenant_id=obj.tenant_id, plan_id=obj.plan_id, state=obj.state, valid_until=form.cleaned_data["valid_until"]
        )
