"""What edited rules would have done with what was told lately: the same decisions, over the same notifications."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from apps.notifications import deciding
from apps.notifications.lifecycle import State
from apps.notifications.matching import parsed
from apps.notifications.models import Notification
from apps.notifications.routing import Destination, Node, Rules

MOST: int = 50_000
MOST_EXAMPLES = 5
SETTINGS = {"group_by": "by", "group_wait_s": "wait_s", "group_interval_s": "interval_s", "repeat_s": "repeat_s"}


class BadRoutesError(ValueError):
    """A file of routes is not as it must be."""


@dataclass
class Change:
    """What would be told by other channels: from which to which, how many, and some of them."""

    before: tuple[str, ...]
    after: tuple[str, ...]
    count: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass
class Comparison:
    """What two sets of rules would have done."""

    looked_at: int = 0
    before: Counter[str] = field(default_factory=Counter)
    after: Counter[str] = field(default_factory=Counter)
    changes: dict[tuple[tuple[str, ...], tuple[str, ...]], Change] = field(default_factory=dict)

    @property
    def changed(self) -> int:
        """How many notifications would take another way."""
        return sum(each.count for each in self.changes.values())

    def lines(self) -> list[str]:
        """Return the comparison for a person."""
        said = [f"{self.looked_at} notifications; {self.changed} would take another way."]
        for channel in sorted(set(self.before) | set(self.after)):
            said.append(f"  {channel}: {self.before[channel]} now, {self.after[channel]} then")
        for each in sorted(self.changes.values(), key=lambda change: -change.count):
            said.append(f"  {each.count} by {_names(each.after)} instead of {_names(each.before)}")
            said += [f"    such as {example}" for example in each.examples]
        return said


def compare(*, now: Rules, then: Rules, at: datetime, days: int) -> Comparison:
    """Compare two sets of rules over what was accepted in the last `days`, in the current context.

    Silences and how channels fare today have no part in it: they were others then.
    """
    found = Comparison()
    rows = Notification.objects.filter(timestamp__gte=at - timedelta(days=days)).order_by("-pk")
    rows = rows.defer("why", "details", "links")[:MOST]
    plain = (_plain(now), _plain(then))
    for row in rows.iterator():
        before, after = (_channels(row, rules=rules, at=at) for rules in plain)
        found.looked_at += 1
        found.before.update(before)
        found.after.update(after)
        if before != after:
            change = found.changes.setdefault((before, after), Change(before, after))
            change.count += 1
            if len(change.examples) < MOST_EXAMPLES:
                change.examples.append(f"{row.id}: {row.severity}, {row.source}, {row.summary[:80]}")
    return found


def from_file(routes: Any, *, rules: Rules) -> Rules:
    """Return rules with a tree as a file has it: a list of routes, each with those `below` it. Raises `BadRoutesError`.

    A route: name, matchers, channel (by name), continue, group_by, group_wait_s, group_interval_s, repeat_s, below.
    """
    by_name = {each.name: each for each in rules.channels.values()}
    return replace(rules, root=replace(rules.root, children=_nodes(routes, by_name=by_name)))


def _nodes(routes: Any, *, by_name: Mapping[str, Destination]) -> tuple[Node, ...]:
    if not isinstance(routes, list):
        raise BadRoutesError("a list of routes would be right")
    return tuple(_node(each, by_name=by_name) for each in routes)


def _node(route: Any, *, by_name: Mapping[str, Destination]) -> Node:
    known = {"name", "matchers", "channel", "continue", "below", *SETTINGS}
    if not isinstance(route, dict) or not isinstance(route.get("name"), str) or set(route) - known:
        raise BadRoutesError(f"a route has a name, and perhaps {', '.join(sorted(known - {'name'}))}")
    channel = route.get("channel")
    if channel is not None and channel not in by_name:
        raise BadRoutesError(f"{route['name']}: there is no channel {channel!r}")
    settings = {ours: route[theirs] for theirs, ours in SETTINGS.items() if theirs in route}
    if "by" in settings:
        settings["by"] = tuple(settings["by"])
    return Node(
        name=route["name"],
        matchers=parsed(route.get("matchers", [])),
        goes_on=bool(route.get("continue", False)),
        channel=None if channel is None else by_name[channel].channel_id,
        children=_nodes(route.get("below", []), by_name=by_name),
        **settings,
    )


def _plain(rules: Rules) -> Rules:
    channels = {key: replace(each, left_alone=False) for key, each in rules.channels.items()}
    return replace(rules, silences=(), channels=channels)


def _channels(row: Notification, *, rules: Rules, at: datetime) -> tuple[str, ...]:
    made = deciding.plan(row, rules=rules, memory={}, region=row.region, now=at)
    return tuple(sorted(each.channel.name for each in made.deliveries if each.state is not State.SKIPPED))


def _names(channels: Sequence[str] | Iterable[str]) -> str:
    return ", ".join(channels) or "nobody"
