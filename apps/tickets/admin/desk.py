"""What people decide about tickets: teams, escalation chains, business calendars, SLA policies."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminTextareaWidget

from apps.core.admin.fields import JSONObjectField, RowForm, WordsField
from apps.core.admin.pages import ConfigurationAdmin, column
from apps.tickets.business import BadCalendarError, Calendar
from apps.tickets.escalation import BadChainError, Chain
from apps.tickets.models import BusinessCalendar, EscalationChain, SlaPolicy, Team
from apps.tickets.operations import desk

COMMAS = "Separated by commas"


class TeamForm(RowForm[Team]):
    """Who is in a team."""

    members = WordsField(required=False, help_text=f"Login names. {COMMAS}")

    class Meta:
        model = Team
        fields = ("name", "title", "members")


@admin.register(Team)
class TeamAdmin(ConfigurationAdmin[Team]):
    """Teams: tickets are assigned to them, and chains call them."""

    form = TeamForm
    list_display = ("name", "title", "shown_members")
    search_fields = ("name",)
    fixed = ("name",)

    @column("Members")
    def shown_members(self, row: Team) -> str:
        """Return who is in it."""
        return ", ".join(row.members)

    def save_model(self, request: HttpRequest, obj: Team, form: Any, change: bool) -> None:
        """Set the team."""
        desk.set_team(name=obj.name, title=form.cleaned_data["title"], members=form.cleaned_data["members"] or [])

    def delete_model(self, request: HttpRequest, obj: Team) -> None:
        """Take it away."""
        desk.remove(obj)


class ChainForm(RowForm[EscalationChain]):
    """The steps of a chain."""

    steps = forms.JSONField(
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 12, "class": "ops-mono"}),
        help_text='[{"after_s": 900, "tell": ["team:batch"]}, {"after_s": 1800, "tell": ["operators"]}]',
    )

    class Meta:
        model = EscalationChain
        fields = ("name", "steps", "rounds")

    def clean(self) -> dict[str, Any]:
        """Refuse a chain that cannot be, by its step."""
        given = super().clean() or {}
        if "steps" in given and given.get("rounds") is not None:
            try:
                Chain.read(name="x", steps=given["steps"], rounds=given["rounds"])
            except BadChainError as error:
                self.add_error("steps", str(error))
        return given


@admin.register(EscalationChain)
class ChainAdmin(ConfigurationAdmin[EscalationChain]):
    """Escalation chains. A ticket keeps its chain as it was when it was opened."""

    form = ChainForm
    list_display = ("name", "rounds", "shown_steps")
    search_fields = ("name",)
    fixed = ("name",)

    @column("Steps")
    def shown_steps(self, row: EscalationChain) -> str:
        """Return the steps in a line."""
        return " → ".join(f"{each['after_s']} s: {', '.join(each['tell'])}" for each in row.steps)

    def save_model(self, request: HttpRequest, obj: EscalationChain, form: Any, change: bool) -> None:
        """Set the chain."""
        desk.set_chain(name=obj.name, steps=form.cleaned_data["steps"], rounds=form.cleaned_data["rounds"])

    def delete_model(self, request: HttpRequest, obj: EscalationChain) -> None:
        """Take it away."""
        desk.remove(obj)


class CalendarForm(RowForm[BusinessCalendar]):
    """When people work."""

    hours = JSONObjectField(rows=8, help_text='{"mon": [["09:00", "17:00"]], "tue": …}; 24:00 is the end of a day')
    holidays = WordsField(required=False, help_text=f"Days such as 2026-12-25. {COMMAS}")

    class Meta:
        model = BusinessCalendar
        fields = ("name", "time_zone", "hours", "holidays")

    def clean(self) -> dict[str, Any]:
        """Refuse a calendar that cannot be, by its part."""
        given = super().clean() or {}
        if {"time_zone", "hours", "holidays"} <= set(given):
            try:
                Calendar.read(time_zone=given["time_zone"], hours=given["hours"], holidays=given["holidays"] or [])
            except BadCalendarError as error:
                part, _, says = str(error).partition(": ")
                self.add_error(part, says)
        return given


@admin.register(BusinessCalendar)
class CalendarAdmin(ConfigurationAdmin[BusinessCalendar]):
    """Business calendars. A ticket keeps its calendar as it was when it was opened."""

    form = CalendarForm
    list_display = ("name", "time_zone")
    search_fields = ("name",)
    fixed = ("name",)

    def save_model(self, request: HttpRequest, obj: BusinessCalendar, form: Any, change: bool) -> None:
        """Set the calendar."""
        given = form.cleaned_data
        desk.set_calendar(
            name=obj.name, time_zone=given["time_zone"], hours=given["hours"], holidays=given["holidays"] or []
        )

    def delete_model(self, request: HttpRequest, obj: BusinessCalendar) -> None:
        """Take it away."""
        desk.remove(obj)


POLICY = (
    "position", "tenant", "module", "severity", "response_s", "resolution_s", "ack_timeout_s", "calendar", "chain",
)  # fmt: skip


class PolicyForm(RowForm[SlaPolicy]):
    """What is promised to whom."""

    class Meta:
        model = SlaPolicy
        fields = ("name", *POLICY)


@admin.register(SlaPolicy)
class PolicyAdmin(ConfigurationAdmin[SlaPolicy]):
    """SLA policies: the first that fits, by position, is a ticket's own for good."""

    form = PolicyForm
    list_display = ("name", "position", "of_tenant", "module", "severity", "response_s", "resolution_s", "chain_id")
    search_fields = ("name",)
    ordering = ("position", "name")
    fixed = ("name",)

    @column("Tenant")
    def of_tenant(self, row: SlaPolicy) -> str:
        """Return for whom it is."""
        return row.tenant_id or "every tenant"

    def save_model(self, request: HttpRequest, obj: SlaPolicy, form: Any, change: bool) -> None:
        """Set the policy."""
        desk.set_policy({name: form.cleaned_data[name] for name in POLICY}, name=obj.name)

    def delete_model(self, request: HttpRequest, obj: SlaPolicy) -> None:
        """Take it away."""
        desk.remove(obj)
