"""Which route a notification takes: the tree, silences, and which channels may carry it. Values in, values out.

As Alertmanager's: a node is asked when its matchers hold, its children before it, the first that takes it unless it
says to go on; what a node does not say it has from the one above. Every step leaves a line of the explanation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from apps.notifications.lifecycle import Classification
from apps.notifications.matching import Facts, Matcher, unmet
from apps.notifications.pacing import QuietHours

DEEPEST: Final = 16
LONGEST_CHAIN: Final = 5


class Grouping(NamedTuple):
    """How a route gathers: by which labels, for how long at first, how long between, and how often it says it again."""

    by: tuple[str, ...] = ("source",)
    wait_s: int = 0
    interval_s: int = 1
    repeat_s: int = 4 * 3600


@dataclass(frozen=True, kw_only=True)
class Node:
    """A route, with those below it. What is None it has from the one above."""

    name: str
    matchers: tuple[Matcher, ...] = ()
    goes_on: bool = False
    channel: UUID | None = None
    by: tuple[str, ...] | None = None
    wait_s: int | None = None
    interval_s: int | None = None
    repeat_s: int | None = None
    quiet: QuietHours | None = None
    children: tuple[Node, ...] = ()


class Hit(NamedTuple):
    """A route that takes the notification, with all that it says or has from above."""

    route: str
    channel: UUID | None
    grouping: Grouping
    quiet: QuietHours | None


class Silenced(NamedTuple):
    """A silence that is in force."""

    silence_id: str
    matchers: tuple[Matcher, ...]
    author: str
    comment: str


@dataclass(frozen=True, kw_only=True)
class Destination:
    """A channel, as far as routing has to know it."""

    channel_id: UUID
    name: str
    kind: str
    provider: str = ""
    fallback: UUID | None = None
    enabled: bool = True
    passive: bool = False
    regions: tuple[str, ...] | None = None
    clearance: Classification = Classification.CONFIDENTIAL
    failures: int = 0
    left_alone: bool = False
    recent_ms: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Rules:
    """All that decides."""

    root: Node
    channels: Mapping[UUID, Destination]
    silences: tuple[Silenced, ...] = ()


@dataclass
class Trace:
    """The explanation, as it grows."""

    steps: list[dict[str, Any]] = field(default_factory=list)

    def say(self, step: str, **more: Any) -> None:
        """Add a line."""
        self.steps.append({"step": step, **{name: value for name, value in more.items() if value is not None}})


def hits(root: Node, facts: Facts, *, trace: Trace) -> list[Hit]:
    """Return the routes that take a notification: at least the root."""
    usual = Hit(root.name, None, Grouping(), None)
    return _hits(root, facts, above=usual, trace=trace, depth=0)


def _hits(node: Node, facts: Facts, *, above: Hit, trace: Trace, depth: int) -> list[Hit]:
    own = _with(node, above)
    found: list[Hit] = []
    for child in node.children if depth < DEEPEST else ():
        missing = unmet(child.matchers, facts)
        if missing is not None:
            value = ", ".join(facts.get(missing.label) or ())
            trace.say("route", route=child.name, matched=False, because=f"{missing} does not hold: it is {value!r}")
            continue
        trace.say("route", route=child.name, matched=True)
        found += _hits(child, facts, above=own, trace=trace, depth=depth + 1)
        if not child.goes_on:
            break
    return found or [own]


def _with(node: Node, above: Hit) -> Hit:
    """Return what a node says, the rest being as above."""
    before = above.grouping
    grouping = Grouping(
        before.by if node.by is None else node.by,
        before.wait_s if node.wait_s is None else node.wait_s,
        before.interval_s if node.interval_s is None else node.interval_s,
        before.repeat_s if node.repeat_s is None else node.repeat_s,
    )
    return Hit(node.name, node.channel or above.channel, grouping, node.quiet or above.quiet)


def longest_interval_s(node: Node) -> float:
    """Return how long a group is spaced out at most, by a route or one below it."""
    below = (longest_interval_s(each) for each in node.children)
    return max(below, default=0.0) if node.interval_s is None else max(float(node.interval_s), *below, 0.0)


def group_key(hit: Hit, facts: Facts) -> str:
    """Return what is told together: what this route gathers by these labels. Tenants are never told together."""
    labels = sorted({"tenant", *hit.grouping.by})
    parts = [hit.route, *(f"{label}={','.join(facts.get(label) or ())}" for label in labels)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def silenced(silences: Sequence[Silenced], facts: Facts) -> Silenced | None:
    """Return a silence that covers a notification."""
    return next((each for each in silences if unmet(each.matchers, facts) is None), None)


def why_not(channel: Destination, *, region: str | None, classification: Classification) -> str | None:
    """Return why a channel may not carry a notification; None where it may."""
    if not channel.enabled:
        return "the channel is switched off"
    if channel.regions is not None and region is not None and region not in channel.regions:
        return f"residency: it must stay in {region}, and the channel is in {', '.join(channel.regions) or 'no region'}"
    if classification.rank > channel.clearance.rank:
        return f"classification: it is {classification}, and the channel is cleared for {channel.clearance}"
    return None


def usable_fallback(
    channel: Destination, *, rules: Rules, region: str | None, classification: Classification
) -> Destination | None:
    """Return the first channel of a channel's chain of fallbacks that may carry a notification."""
    seen = {channel.channel_id}
    following = channel.fallback
    while following is not None and following not in seen and len(seen) <= LONGEST_CHAIN:
        seen.add(following)
        found = rules.channels.get(following)
        if found is None:
            return None
        if why_not(found, region=region, classification=classification) is None:
            return found
        following = found.fallback
    return None


def shares_provider(channel: Destination, fallback: Destination) -> bool:
    """Say whether a channel and its fallback go by the same provider, and so fail together."""
    return bool(channel.provider) and channel.provider == fallback.provider


def of_others(rules: Rules, *, tenant_id: str | None) -> set[UUID]:
    """Return the channels, with their fallbacks, to which only routes for other tenants lead: nothing of this one's."""
    others: dict[UUID, bool] = {}
    _led(rules.root, {} if tenant_id is None else {"tenant": (tenant_id,)}, above=None, other=False, found=others)
    for channel_id, other in list(others.items()):
        following = rules.channels.get(channel_id)
        for _ in range(LONGEST_CHAIN):
            if following is None or following.fallback is None:
                break
            others[following.fallback] = others.get(following.fallback, True) and other
            following = rules.channels.get(following.fallback)
    return {channel_id for channel_id, other in others.items() if other}


def _led(node: Node, facts: Facts, *, above: UUID | None, other: bool, found: dict[UUID, bool]) -> None:
    """Note of each channel that the routes lead to whether all of them are other tenants'."""
    other = other or any(each.label == "tenant" and not each.holds(facts) for each in node.matchers)
    channel = node.channel or above
    if channel is not None:
        found[channel] = found.get(channel, True) and other
    for child in node.children:
        _led(child, facts, above=channel, other=other, found=found)


def out_of_band(
    rules: Rules, *, tried: Sequence[UUID], tenant_id: str | None, region: str | None, classification: Classification
) -> Destination | None:
    """Return by which channel to say that nobody was told: one that was not tried, of another provider if possible."""
    others = of_others(rules, tenant_id=tenant_id)
    spent = {rules.channels[each].provider for each in tried if each in rules.channels}
    possible = [
        each
        for each in rules.channels.values()
        if not each.passive
        and each.channel_id not in tried
        and each.channel_id not in others
        and why_not(each, region=region, classification=classification) is None
    ]
    return min(
        possible, key=lambda each: (each.left_alone, each.provider in spent, each.failures, each.name), default=None
    )


def facts_of(row: Any, *, region: str | None) -> dict[str, tuple[str, ...]]:
    """Return a notification's labels; `row` has its attributes under the names of the model."""
    words = {
        "severity": row.severity,
        "category": row.category,
        "classification": row.classification,
        "source": row.source,
        "component": row.component,
        "group": row.group,
        "class": row.kind,
        "tenant": row.tenant_id,
        "dedup_key": row.dedup_key,
        "by": row.raised_by,
        "region": region,
    }
    facts = {name: (str(value),) for name, value in words.items() if value is not None}
    return {**facts, "audience": tuple(row.audience)}


def quiet_now(hit: Hit, *, now: datetime) -> float:
    """Return for how many seconds more a route is quiet."""
    return 0.0 if hit.quiet is None else hit.quiet.left_s(now)
