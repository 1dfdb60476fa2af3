"""What operators decide: channels, routes, silences."""

from __future__ import annotations

import re
from typing import Any, ClassVar
from zoneinfo import available_timezones

import unfold.decorators
from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import connection
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminTextareaWidget

from apps.core.admin.fields import RowForm, WordsField, among
from apps.core.admin.markup import badge
from apps.core.admin.pages import ConfigurationAdmin, column
from apps.core.clock import DatabaseClock
from apps.notifications import kinds, lifecycle, matching, rules, simulating
from apps.notifications.models import Channel, Route, Silence
from apps.notifications.operations import channels, routes
from apps.notifications.secrets import SealBrokenError

LOOKED_BACK_DAYS = 30


class LinesField(forms.Field):
    """A list of texts, one a line."""

    def __init__(self, *, none_if_empty: bool = False, **options: Any) -> None:
        options.setdefault("widget", UnfoldAdminTextareaWidget(attrs={"rows": 4, "class": "ops-mono"}))
        self.none_if_empty = none_if_empty
        super().__init__(**options)

    def prepare_value(self, value: Any) -> Any:
        """Return the text to edit."""
        return "\n".join(value) if isinstance(value, list | tuple) else value

    def to_python(self, value: Any) -> list[str]:
        """Return the lines that say something."""
        return [line.strip() for line in str(value or "").splitlines() if line.strip()]


class MatchersField(LinesField):
    """Matchers, one a line."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("help_text", "One a line, all hold: severity=critical, source!=health, component=~db-.*")
        super().__init__(**options)

    def to_python(self, value: Any) -> list[str]:
        """Return the matchers; raise `ValidationError` for what is none."""
        lines = super().to_python(value)
        try:
            return [str(each) for each in matching.parsed(lines)]
        except matching.BadMatcherError as error:
            raise ValidationError(str(error)) from error


class ChannelForm(RowForm[Channel]):
    """A channel. Its settings are typed, sealed, and shown to nobody again."""

    kind = forms.ChoiceField(choices=list)
    settings = LinesField(required=False, label="Settings")
    regions = WordsField(required=False, none_if_empty=True, help_text="Separated by commas; empty = every region")

    class Meta:
        model = Channel
        fields = ("name", "kind", "enabled", "fallback", "regions", "clearance", "per_minute", "tested_every_s")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        known = [kinds.kind_of(name) for name in kinds.names()]
        if "kind" in self.fields:
            self.fields["kind"].choices = [(each.name, each.title) for each in known if not each.passive]  # type: ignore[attr-defined]
        asked = [each for each in known if self.instance._state.adding or each.name == self.instance.kind]
        lines = [f"{each.name}: {', '.join(_asked(each))}" for each in asked if each.fields]
        again = "One `name: value` a line. " + ("" if self.instance._state.adding else "What is left out stays. ")
        self.fields["settings"].help_text = again + "They are not shown again. " + "; ".join(lines)

    def clean_settings(self) -> dict[str, str]:
        """Return the settings by name."""
        found = {}
        for line in self.cleaned_data["settings"]:
            name, colon, value = line.partition(":")
            if not colon or not re.fullmatch("[a-z_]+", name.strip()):
                raise ValidationError("Each line is `name: value`")
            found[name.strip()] = value.strip()
        return found

    def clean(self) -> dict[str, Any]:
        """Refuse settings that the kind cannot use, by name and never by value."""
        given = super().clean() or {}
        if self.instance._state.adding and given.get("kind") and "settings" in given:
            try:
                kinds.kind_of(given["kind"]).checked(given["settings"])
            except kinds.BadSettingError as error:
                self.add_error("settings", str(error))
        return given


@admin.register(Channel)
class ChannelAdmin(ConfigurationAdmin[Channel]):
    """Channels: where notifications go. One that was used stays; switch it off instead."""

    form = ChannelForm
    refusals = (
        channels.ChangedMeanwhileError,
        channels.CircularFallbackError,
        kinds.BadSettingError,
        kinds.NoSuchKindError,
        SealBrokenError,
    )
    list_display = ("name", "kind", "shown", "provider", "fallback", "standing", "usual", "succeeded_at", "last_error")
    list_select_related = ("fallback",)
    search_fields = ("name",)
    fixed = ("name", "kind")
    told = ("shown", "provider", "failures", "left_alone_until", "succeeded_at", "failed_at", "last_error", "test_at",
            "test_error", "changed_by")  # fmt: skip
    fieldsets: ClassVar[Any] = (
        (None, {"fields": ("name", "kind", "settings", "enabled", "fallback")}),
        ("What may go by it", {"fields": ("regions", "clearance", "per_minute")}),
        (
            "Test messages",
            {
                "fields": ("tested_every_s", "test_at", "test_error"),
                "description": "Sent only where the settings have a `test_address`.",
            },
        ),
        (
            "How it does",
            {"fields": ("shown", "provider", "failures", "left_alone_until", "succeeded_at", "failed_at", "last_error",
                        "changed_by")},
        ),
    )  # fmt: skip

    def has_delete_permission(self, request: HttpRequest, obj: Channel | None = None) -> bool:
        """Say no: deliveries name it."""
        return False

    @column("State")
    def standing(self, row: Channel) -> Any:
        """Return whether it takes messages."""
        if not row.enabled:
            return badge("off", "default")
        if row.failures >= lifecycle.FAILURES_TO_OPEN:
            return badge(f"failing: {row.failures} in a row", "danger")
        return badge("failed last", "warning") if row.failures else badge("on", "success")

    @column("Fallback after")
    def usual(self, row: Channel) -> str | None:
        """Return how long it may take before its fallback begins."""
        return None if row.fallback_id is None else f"{lifecycle.hedge_s(row.recent_ms):.1f} s"

    def save_model(self, request: HttpRequest, obj: Channel, form: Any, change: bool) -> None:
        """Make or change the channel, and say what an operator should know about it."""
        given, by = form.cleaned_data, request.user.get_username()
        names = ("enabled", "regions", "clearance", "per_minute", "tested_every_s")
        values = {name: given[name] for name in names}
        fallback = given["fallback"].pk if given["fallback"] else None
        if change:
            channels.change(
                {**values, "fallback_id": fallback},
                channel_id=obj.pk,
                version=obj.version,
                settings=given["settings"],
                by=by,
            )
        else:
            obj.pk = channels.create(
                name=given["name"],
                kind=given["kind"],
                settings=given["settings"],
                fallback=fallback,
                by=by,
                **values,
            )
        for warning in channels.warnings_about(channel_id=obj.pk):
            messages.warning(request, warning)


class RouteForm(RowForm[Route]):
    """A route."""

    matchers = MatchersField(required=False)
    group_by = WordsField(required=False, none_if_empty=True, help_text=f"Of {', '.join(matching.LABELS)}")

    class Meta:
        model = Route
        fields = (
            "name", "parent", "position", "matchers", "goes_on", "channel", "group_by", "group_wait_s",
            "group_interval_s", "repeat_s", "quiet_from", "quiet_until", "quiet_zone", "draft", "replaces",
        )  # fmt: skip

    def clean_group_by(self) -> list[str] | None:
        """Refuse labels that nothing has."""
        words: list[str] | None = self.cleaned_data["group_by"]
        among(words, known=matching.LABELS, what="label")
        return words

    def clean_quiet_zone(self) -> str:
        """Refuse places whose clock nobody knows."""
        zone = str(self.cleaned_data["quiet_zone"] or "UTC")
        if zone not in available_timezones():
            raise ValidationError("A place such as Europe/Berlin would be right")
        return zone

    def clean(self) -> dict[str, Any]:
        """Refuse half an interval, one without an end, and an edit of a route that is no draft."""
        given = super().clean() or {}
        begin, end = given.get("quiet_from"), given.get("quiet_until")
        if (begin is None) != (end is None) or (begin is not None and begin == end):
            self.add_error("quiet_until", "A beginning and another time as the end would be right")
        if given.get("replaces") and not given.get("draft"):
            self.add_error("replaces", "Only a draft edits another route")
        return given


@admin.register(Route)
class RouteAdmin(ConfigurationAdmin[Route]):
    """The routing tree. A draft is asked by the simulator alone, until it is put in force."""

    form = RouteForm
    refusals = (routes.CircularRouteError,)
    list_display = ("name", "parent", "position", "shown_matchers", "channel", "goes_on", "standing")
    list_select_related = ("parent", "channel")
    search_fields = ("name",)
    actions = ("simulate", "put_in_force")
    told = ("changed_by",)
    fieldsets: ClassVar[Any] = (
        (None, {"fields": ("name", "parent", "position", "matchers", "goes_on", "channel", "changed_by")}),
        ("Gathering", {"fields": ("group_by", "group_wait_s", "group_interval_s", "repeat_s")}),
        ("Quiet hours", {"fields": ("quiet_from", "quiet_until", "quiet_zone")}),
        ("Draft", {"fields": ("draft", "replaces")}),
    )

    @column("Matchers")
    def shown_matchers(self, row: Route) -> str:
        """Return what it is for."""
        return ", ".join(row.matchers) or "everything"

    @column("State", label={"in force": "success", "draft": "info"})
    def standing(self, row: Route) -> str:
        """Return whether it is asked."""
        return "draft" if row.draft else "in force"

    @unfold.decorators.action(description="Simulate the drafts over the last 30 days")  # type: ignore[untyped-decorator]
    def simulate(self, request: HttpRequest, rows: QuerySet[Route]) -> None:
        """Say what every draft together would have changed. Sends nothing."""
        at = DatabaseClock.ask(connection).now()
        found = simulating.compare(
            now=rules.in_force(now=at), then=rules.with_drafts(now=at), at=at, days=LOOKED_BACK_DAYS
        )
        for line in found.lines():
            messages.info(request, line)

    @unfold.decorators.action(description="Put in force")  # type: ignore[untyped-decorator]
    def put_in_force(self, request: HttpRequest, rows: QuerySet[Route]) -> None:
        """Put the chosen drafts in force."""
        drafts = list(rows.filter(draft=True).values_list("pk", flat=True))
        for each in drafts:
            routes.put_in_force(route_id=each, by=request.user.get_username())
        messages.success(request, f"{len(drafts)} put in force")

    def save_model(self, request: HttpRequest, obj: Route, form: Any, change: bool) -> None:
        """Make or change the route."""
        given, by = dict(form.cleaned_data), request.user.get_username()
        for name in ("parent", "channel", "replaces"):
            row = given.pop(name)
            given[f"{name}_id"] = row.pk if row else None
        if change:
            routes.change(given, route_id=obj.pk, by=by)
        else:
            obj.pk = routes.lay(given, by=by)

    def delete_model(self, request: HttpRequest, obj: Route) -> None:
        """Take the route away."""
        routes.take_away(route_id=obj.pk)


class SilenceForm(RowForm[Silence]):
    """A silence."""

    matchers = MatchersField()

    class Meta:
        model = Silence
        fields = ("matchers", "starts_at", "ends_at", "comment")

    def clean(self) -> dict[str, Any]:
        """Refuse a silence of everything, and one that ends before it begins."""
        given = super().clean() or {}
        if given.get("starts_at") and given.get("ends_at") and given["ends_at"] <= given["starts_at"]:
            self.add_error("ends_at", "A time after the beginning would be right")
        return given


@admin.register(Silence)
class SilenceAdmin(ConfigurationAdmin[Silence]):
    """Silences: what is told to nobody for a while. One is ended, not changed."""

    form = SilenceForm
    list_display = ("shown_matchers", "starts_at", "ends_at", "standing", "author", "comment")
    list_display_links = ("shown_matchers",)
    ordering = ("-silence_id",)
    actions = ("end",)
    fixed = ("starts_at", "ends_at", "comment")
    told = ("author", "created_at")
    fields = ("matchers", "starts_at", "ends_at", "comment", "author", "created_at")

    def has_delete_permission(self, request: HttpRequest, obj: Silence | None = None) -> bool:
        """Say no: whoever asks later why nobody was told finds it."""
        return False

    @column("Matchers")
    def shown_matchers(self, row: Silence) -> str:
        """Return what it is about."""
        return ", ".join(row.matchers)

    @column("State", label={"pending": "info", "active": "warning", "expired": "default"})
    def standing(self, row: Silence) -> str:
        """Return whether it is in force."""
        now = DatabaseClock.ask(connection).now()
        return "pending" if now < row.starts_at else "active" if now < row.ends_at else "expired"

    @unfold.decorators.action(description="End now")  # type: ignore[untyped-decorator]
    def end(self, request: HttpRequest, rows: QuerySet[Silence]) -> None:
        """End the chosen silences."""
        chosen = list(rows.values_list("pk", flat=True))
        for each in chosen:
            routes.end_silence(silence_id=each)
        messages.success(request, f"{len(chosen)} ended")

    def save_model(self, request: HttpRequest, obj: Silence, form: Any, change: bool) -> None:
        """Begin the silence."""
        if not change:
            given = form.cleaned_data
            obj.pk = routes.silence(**given, author=request.user.get_username())


def _asked(kind: kinds.Kind) -> list[str]:
    fields = [f"{each.name}{'' if each.required else ' (optional)'} ({each.says})" for each in kind.fields]
    return [*fields, *(["test_address (optional)"] if kind.tested_by else [])]
