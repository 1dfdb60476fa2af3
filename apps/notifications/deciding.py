"""What becomes of a notification: told to whom and when, or to nobody and why. Values in, values out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from apps.notifications import lifecycle, pacing, routing
from apps.notifications.lifecycle import Classification, Reason, Severity, State
from apps.notifications.routing import Destination, Hit, Rules, Trace

INBOX = "inbox"

# (channel, group key) → when the group was told last.
Memory = Mapping[tuple[UUID, str], datetime]


class Planned(NamedTuple):
    """A delivery to be written."""

    channel: Destination
    group_key: str
    hit: Hit
    reason: Reason
    state: State
    due_in_s: float = 0.0
    hedge_in_s: float | None = None
    counts: bool = True
    note: str | None = None


class Plan(NamedTuple):
    """What follows: deliveries, or silence and its reason; and the explanation."""

    deliveries: tuple[Planned, ...]
    why: list[dict[str, Any]]
    suppressed: str | None = None

    @property
    def first_due_s(self) -> float | None:
        """In how many seconds the first delivery is due that would mean that somebody was told."""
        due = [each.due_in_s for each in self.deliveries if each.counts and each.state is not State.SKIPPED]
        return min(due, default=None)


def plan(row: Any, *, rules: Rules, memory: Memory, region: str | None, now: datetime, escalated: bool = False) -> Plan:
    """Decide about a notification (`row`, with the model's attributes) that was triggered, or grew worse."""
    trace = Trace()
    facts = routing.facts_of(row, region=region)
    if row.inhibited_by:
        trace.say("inhibited", by=row.inhibited_by, because="what is behind it is told instead")
        return Plan((), trace.steps, "inhibited")
    silence = routing.silenced(rules.silences, facts)
    if silence is not None:
        trace.say("silenced", silence=silence.silence_id, author=silence.author, comment=silence.comment)
        return Plan((), trace.steps, "silenced")
    made: dict[UUID, Planned] = {}
    for hit in routing.hits(rules.root, facts, trace=trace):
        channel = rules.channels.get(hit.channel) if hit.channel else None
        if channel is None:
            trace.say("no_channel", route=hit.route, because="the route leads nowhere")
        elif channel.channel_id in made:
            trace.say("same_channel", route=hit.route, channel=channel.name)
        else:
            key = routing.group_key(hit, facts)
            told = memory.get((channel.channel_id, key))
            wait = pacing.wait(
                severity=Severity(row.severity),
                wait_s=hit.grouping.wait_s,
                interval_s=hit.grouping.interval_s,
                told_ago_s=None if told is None else (now - told).total_seconds(),
                quiet_s=routing.quiet_now(hit, now=now),
            )
            reason = Reason.ESCALATION if escalated else wait.reason
            for each in _by(channel, hit=hit, key=key, row=row, rules=rules, region=region, wait_s=wait.due_in_s):
                made.setdefault(each.channel.channel_id, _reasoned(each, reason))
    deliveries = _counted(tuple(made.values()))
    for each in deliveries:
        _explain(each, trace=trace)
    return Plan(deliveries, trace.steps, None if deliveries else "no_route")


def _by(
    channel: Destination, *, hit: Hit, key: str, row: Any, rules: Rules, region: str | None, wait_s: float
) -> list[Planned]:
    """Return the delivery by a channel; of one that may not carry it a skipped one, and its fallback's at once."""
    classification = Classification(row.classification)
    refused = routing.why_not(channel, region=region, classification=classification)
    fallback = routing.usable_fallback(channel, rules=rules, region=region, classification=classification)
    if refused is not None:
        made = [Planned(channel, key, hit, Reason.FIRST, State.SKIPPED, note=refused)]
        if fallback is not None:
            made.append(_queued(fallback, key=key, hit=hit, reason=Reason.FALLBACK, wait_s=wait_s, hedged=False))
        return made
    return [
        _queued(channel, key=key, hit=hit, reason=Reason.FIRST, wait_s=wait_s, hedged=fallback is not None),
    ]


def _queued(channel: Destination, *, key: str, hit: Hit, reason: Reason, wait_s: float, hedged: bool) -> Planned:
    if channel.kind == INBOX:
        return Planned(channel, key, hit, reason, State.SENT)
    # A channel that is left alone now takes nothing: its fallback need not wait to see that.
    hedge = 0.0 if channel.left_alone else lifecycle.hedge_s(channel.recent_ms)
    return Planned(channel, key, hit, reason, State.QUEUED, wait_s, wait_s + hedge if hedged else None)


def _reasoned(planned: Planned, reason: Reason) -> Planned:
    return planned if planned.reason is Reason.FALLBACK else planned._replace(reason=reason)


def _counted(deliveries: tuple[Planned, ...]) -> tuple[Planned, ...]:
    """Say whose success means that somebody was told: a list that waits to be looked at only where nothing else is."""
    active = [each for each in deliveries if not each.channel.passive]
    return tuple(
        each._replace(counts=not (each.channel.passive and active and each.reason is not Reason.FALLBACK))
        for each in deliveries
    )


def _explain(planned: Planned, *, trace: Trace) -> None:
    trace.say(
        "delivery",
        channel=planned.channel.name,
        route=planned.hit.route,
        reason=str(planned.reason),
        skipped=planned.note,
        due_in_s=round(planned.due_in_s, 1) or None,
        fallback_after_s=None if planned.hedge_in_s is None else round(planned.hedge_in_s, 1),
        left_alone=planned.channel.left_alone or None,
    )
