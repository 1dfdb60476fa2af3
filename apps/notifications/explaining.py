"""“Why was I told?”, “why was I not?”: the story of an event or a notification, line by line.

Everything was noted when it was decided; nothing is guessed from rules that may have changed since.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from apps.events.models import Event
from apps.notifications import queries
from apps.notifications.models import Channel, Notification


def explain(asked_about: UUID, *, whom: str | None = None, heard: Sequence[str] = ()) -> list[str]:
    """Return the story of an event or a notification, in the current context.

    `whom`: an audience (`operators`, `tenant`, `person:ada`) or a channel's name, to be answered about by itself.
    `heard`: the event types that notifications react to.
    """
    row = queries.one(asked_about)
    if row is not None:
        return _story(row, whom=whom)
    caused = [found for each in queries.caused_by(asked_about) if (found := queries.one(each)) is not None]
    if caused:
        return [line for each in caused for line in _story(each, whom=whom)]
    event = Event.objects.filter(pk=asked_about).first()
    if event is None:
        return [f"There is no event and no notification {asked_about}."]
    if event.type not in heard:
        return [f"{event.type}: nobody is told of events of this type. Subscribe a webhook to hear of them."]
    if event.data.get("parent_id"):
        return [f"{event.type}: it is about a step of the plan {event.data['parent_id']}; only the plan is told of."]
    return [f"{event.type}: nothing was told of it, or its reaction has not come to it yet."]


def _story(row: Notification, *, whom: str | None) -> list[str]:
    deliveries = queries.deliveries_of(row.id)
    lines = [
        f"Notification {row.id}: {row.severity} {row.category} of {row.source}"
        f" for {row.target}, {row.status}{', resolved' if row.resolved else ''}.",
    ]
    if whom is not None:
        lines.append(_answer(row, deliveries, whom=whom))
    lines += [f"  {_step(each)}" for each in row.why]
    for each in deliveries:
        lines.append(f"  {_delivery(each)}")
        lines += [f"    {_attempt(attempt)}" for attempt in each["attempts"]]
    if row.repeats:
        lines.append(f"  It was triggered {row.repeats} more times while open: those are one notification.")
    if row.acknowledged_at is not None:
        lines.append(f"  {row.acknowledged_by} acknowledged it at {row.acknowledged_at:%F %T}: it is not repeated.")
    if row.resolved_at is not None:
        lines.append(f"  {row.resolved_by} resolved it at {row.resolved_at:%F %T}.")
    return lines


def _answer(row: Notification, deliveries: Sequence[Mapping[str, Any]], *, whom: str) -> str:
    """Say whether an audience or a channel was told, in one line."""
    by_channel = [each for each in deliveries if each["channel"] == whom]
    if by_channel or Channel.objects.filter(name=whom).exists():
        told = [each for each in by_channel if each["state"] == "sent"]
        if told:
            return f"{whom}: yes, at {told[0]['sent_at']:%F %T} ({told[0]['reason']})."
        if by_channel:
            return f"{whom}: no, {by_channel[-1]['state']}: {by_channel[-1]['note'] or 'its time has not come'}."
        return f"{whom}: no, no route led there; below, each route and why."
    if whom not in row.audience:
        return f"{whom}: no, it was for {', '.join(row.audience)}."
    told = [each for each in deliveries if each["state"] == "sent"]
    if not told:
        return f"{whom}: no, by no channel; below, each and why."
    return f"{whom}: yes, by {', '.join(dict.fromkeys(each['channel'] for each in told))}."


def _step(step: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in step.items() if name not in {"step", "because", "at"}}
    told = ", ".join(f"{name} {value}" for name, value in rest.items())
    because = step.get("because")
    return f"{step['step'].replace('_', ' ')}{': ' + told if told else ''}{'; ' + str(because) if because else ''}"


def _delivery(each: Mapping[str, Any]) -> str:
    note = f": {each['note']}" if each["note"] else ""
    return f"by {each['channel']} ({each['kind']}), as {each['reason']}: {each['state']}{note}"


def _attempt(each: Mapping[str, Any]) -> str:
    came = "taken" if each["accepted"] else f"{each['error']}{', for good' if each['permanent'] else ''}"
    return f"{each['at']:%F %T}, {each['took_ms']} ms: {came}"
