"""Admin pages of what is not ours: people, groups, what they changed, Celery beat's schedules; in the house's dress.

Beat's schedules are written by django-celery-beat's own models, which tell the beat process that something changed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from apps.core.admin.fields import RowForm
from apps.core.admin.pages import Page, RecordAdmin, column

if TYPE_CHECKING:
    PeoplePage = DjangoUserAdmin[User]
else:
    PeoplePage = DjangoUserAdmin

for ours in (User, Group, PeriodicTask, IntervalSchedule, CrontabSchedule, SolarSchedule, ClockedSchedule):
    admin.site.unregister(ours)


@admin.register(User)
class UserAdmin(PeoplePage, Page[User]):
    """People who sign in. A superuser does everything; staff see and do what their groups say."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "is_active", "is_staff", "is_superuser", "last_login")
    list_filter = ("is_active", "is_staff", "is_superuser", "groups")


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, Page[Group]):
    """Groups of people, and what they may see and do."""


@admin.register(LogEntry)
class LogEntryAdmin(RecordAdmin[LogEntry]):
    """Who changed which configuration, newest first."""

    list_display = ("action_time", "user", "shown_action", "of_kind", "object_repr", "shown_change")
    list_display_links = ("action_time",)
    list_select_related = ("user", "content_type")
    list_filter = ("action_flag",)
    ordering = ("-id",)
    fields = ("action_time", "user", "shown_action", "of_kind", "object_id", "object_repr", "shown_change")

    @column("Did", label={"added": "success", "changed": "info", "deleted": "danger"})
    def shown_action(self, row: LogEntry) -> str:
        """Return what was done."""
        return {1: "added", 2: "changed", 3: "deleted"}.get(row.action_flag, "?")

    @column("To")
    def of_kind(self, row: LogEntry) -> str:
        """Return the kind of thing it was done to."""
        return row.content_type.name if row.content_type else ""

    @column("Change")
    def shown_change(self, row: LogEntry) -> str:
        """Return what changed, in words."""
        return row.get_change_message()


class PeriodicTaskForm(RowForm[Any]):
    """A beat entry. Beat sends a Celery task; jobs are submitted, so their types are no tasks for beat."""

    class Meta:
        model = PeriodicTask
        fields = (
            "name", "task", "enabled", "description", "interval", "crontab", "solar", "clocked", "start_time",
            "one_off", "args", "kwargs", "queue", "expires", "expire_seconds",
        )  # fmt: skip

    def clean_task(self) -> str:
        """Refuse anything but the plane's own ticks: a worker refuses a job's task that carries no fence anyway."""
        task: str = self.cleaned_data["task"].strip()
        if not task.startswith(("ops.control.", "celery.")):
            raise forms.ValidationError("A tick of the plane such as “ops.control.heartbeat” would be right")
        return task

    def clean_args(self) -> str:
        """Refuse what is not a JSON list."""
        return _json(self.cleaned_data["args"] or "[]", kind=list, right="a list such as []")

    def clean_kwargs(self) -> str:
        """Refuse what is not a JSON object."""
        return _json(self.cleaned_data["kwargs"] or "{}", kind=dict, right="an object such as {}")


def _json(text: str, *, kind: type, right: str) -> str:
    """Return `text`; raise `ValidationError` when it does not spell a `kind`."""
    try:
        fits = isinstance(json.loads(text), kind)
    except ValueError as error:
        raise forms.ValidationError(f"not JSON ({error}): {right} would be right") from error
    if not fits:
        raise forms.ValidationError(f"{right} would be right")
    return text


@admin.register(PeriodicTask)
class PeriodicTaskAdmin(Page[Any]):
    """Beat's entries: the plane's own ticks. No button runs one at once: no request speaks to the broker."""

    form = PeriodicTaskForm
    list_display = ("name", "task", "schedule", "shown_enabled", "last_run_at", "total_run_count")
    list_filter = ("enabled",)
    search_fields = ("name", "task")
    list_select_related = ("interval", "crontab", "solar", "clocked")
    readonly_fields = ("last_run_at", "total_run_count", "date_changed")
    fieldsets = (
        (None, {"fields": ("name", "task", "enabled", "description")}),
        ("When", {"fields": ("interval", "crontab", "solar", "clocked", "start_time", "one_off")}),
        ("With", {"fields": ("args", "kwargs", "queue", "expires", "expire_seconds")}),
        ("Until now", {"fields": ("last_run_at", "total_run_count", "date_changed")}),
    )

    @column("When")
    def schedule(self, row: Any) -> str:
        """Return the schedule in words."""
        return str(row.interval or row.crontab or row.solar or row.clocked or "–")

    @column("Enabled", label={"enabled": "success", "off": "warning"})
    def shown_enabled(self, row: Any) -> str:
        """Return whether beat sends it."""
        return "enabled" if row.enabled else "off"

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Return no bulk actions: a bulk update would not tell beat."""
        return {}


class ScheduleAdmin(Page[Any]):
    """When something is due."""

    actions = None


for schedule in (IntervalSchedule, CrontabSchedule, SolarSchedule, ClockedSchedule):
    admin.site.register(schedule, ScheduleAdmin)
