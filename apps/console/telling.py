"""A job's story in sentences, for people who do not know the plane's words. Pure: values in, words out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from apps.jobs import events
from apps.jobs.glances import ByHand

MILLISECOND_S: Final = 0.001
GOOD, BAD, WARN, LIVE, PLAIN = "good", "bad", "warn", "live", "plain"

TONES: Final = {
    "up": GOOD,
    "helped": GOOD,
    "delivered": GOOD,
    "sent": GOOD,
    "resolved": GOOD,
    "down": BAD,
    "critical": BAD,
    "error": BAD,
    "undelivered": BAD,
    "did_not_help": BAD,
    "exhausted": BAD,
    "degraded": WARN,
    "unknown": WARN,
    "grace": WARN,
    "warning": WARN,
    "open": WARN,
    "in_progress": LIVE,
    "acknowledged": LIVE,
    "info": LIVE,
    "pending": LIVE,
    "succeeded": GOOD,
    "allowed": GOOD,
    "failed": BAD,
    "timed_out": BAD,
    "worker_lost": BAD,
    "rejected": WARN,
    "refused": WARN,
    "unclaimed": WARN,
    "unpublished": WARN,
    "finished_late": WARN,
    "expired": WARN,
    "retrying": WARN,
    "deferred": WARN,
    "pending_audit": WARN,
    "dispatched": LIVE,
    "started": LIVE,
    "running": LIVE,
    "queued": LIVE,
}
ENDINGS: Final = {
    "succeeded": "Attempt {attempt} succeeded",
    "failed": "Attempt {attempt} failed",
    "timed_out": "Attempt {attempt} ran out of time",
    "cancelled": "Attempt {attempt} stopped, as asked",
    "worker_lost": "The worker of attempt {attempt} was lost",
    "unclaimed": "No worker took it",
    "unpublished": "The broker did not take its message",
    "handed_back": "A worker that was stopping handed it back",
    "expired": "It was not started in time",
}
NOTICED: Final = {
    "worker": "told by the worker itself",
    "parent": "noticed by the worker's parent process",
    "sweeper": "noticed by the sweeper",
    "scheduler": "noticed by the scheduler",
}
ASKED: Final = {
    "operations.submit": "its submission",
    "operations.dispatch": "its start",
    "operations.continue": "that it goes on",
}
# What the plane did about an end that was not the job's last, and what it cost.
RECOVERED: Final = {
    "failed": ("Tried again", "one attempt"),
    "timed_out": ("Tried again", "one attempt"),
    "worker_lost": ("Taken back from the lost worker and tried again", "one attempt"),
    "unclaimed": ("Recalled, and sent again under a new fence", "no attempt"),
    "unpublished": ("Queued again until the broker takes it", "no attempt"),
    "handed_back": ("Queued again for another worker", "no attempt"),
}


WAITED_FOR: Final = {
    "turn": "its turn",
    "run_at": "its time to come",
    "retry_pause": "the pause before another attempt",
    "dependencies": "the jobs it depends on",
    "children": "its own steps",
    "paused": "a pause to end",
    "broker_down": "the broker",
    "key_held": "its concurrency key",
    "no_workers": "a worker",
    "workers_busy": "a free worker",
    "reserved_worker": "a free worker",
    "environment_full": "a free slot",
    "tenant_limit": "a slot of its tenant’s",
    "rate": "the rate of its type",
    "tenant_rate": "the rate of its tenant’s plan",
}


class Moment(NamedTuple):
    """A line of a timeline. `then` is a time still to come, named by `then_word`; `waited_s` seconds."""

    at: datetime
    title: str
    tone: str = PLAIN
    detail: str = ""
    then_word: str = ""
    then: datetime | None = None
    waited_s: float | None = None


class Recovery(NamedTuple):
    """Something that went wrong on the way, or was done by hand, and what followed."""

    at: datetime
    happened: str
    done: str
    cost: str
    noticed: str
    tone: str


def timeline(items: Iterable[Mapping[str, Any]], *, by_hand: Iterable[ByHand] = ()) -> list[Moment]:
    """Return the moments of `apps.jobs.representation.timeline` in sentences, with what was done by hand, in order."""
    told = [_moment(each) for each in items] + [_by_hand(each) for each in by_hand]
    return sorted(told, key=lambda moment: moment.at)


def recoveries(attempts: Sequence[Any], *, over: bool, by_hand: Iterable[ByHand] = ()) -> list[Recovery]:
    """Return what was recovered from, oldest first: each dispatch whose end was not the job's, and reports too late."""
    last = attempts[-1].fence if attempts else None
    found = []
    for each in attempts:
        if each.ending in RECOVERED and not (over and each.fence == last):
            done, cost = RECOVERED[each.ending]
            happened = ENDINGS[each.ending].format(attempt=each.number)
            noticed = NOTICED.get(each.noticed_by or "", "")
            found.append(Recovery(each.finished_at, happened, done, cost, noticed, tone(each.ending)))
        if each.late_at is not None:
            happened = f"A worker that no longer held it reported: {words(each.late_ending)}"
            found.append(
                Recovery(each.late_at, happened, "Kept beside the attempt, and not counted", "nothing", "", WARN)
            )
    for hand in by_hand:
        found.append(Recovery(hand.at, _by_hand(hand).title, "Done by hand", "–", "", PLAIN))
    return sorted(found, key=lambda recovery: recovery.at)


def waited(parts: Iterable[Mapping[str, Any]]) -> list[tuple[float, str]]:
    """Return (seconds, what for) of a job's wait, the longest first; shorter than a millisecond is nothing."""
    found: dict[str, float] = {}
    for part in parts:
        what = WAITED_FOR.get(part["gate"], words(part["gate"]))
        found[what] = found.get(what, 0.0) + part["seconds"]
    return sorted(((seconds, what) for what, seconds in found.items() if seconds >= MILLISECOND_S), reverse=True)


def tone(word: str | None) -> str:
    """Return how a status, outcome or ending is to be coloured."""
    return TONES.get(word or "", PLAIN)


def words(name: str | None) -> str:
    """Return a name of the plane's as words: `waiting_children` is `waiting children`."""
    return (name or "").replace("_", " ")


def error_in_words(error: Mapping[str, Any] | None) -> str:
    """Return an error as one line: what its author said of it, or its class and code."""
    told = error or {}
    if told.get("message"):
        return str(told["message"])
    code = words(told.get("code"))
    return " · ".join(part for part in (str(told.get("class") or ""), code) if part)


def flat(value: Any, *, most: int = 200) -> list[tuple[str, str]]:
    """Return a JSON value as lines of (path, text): `source.table` and what stands there; at most `most`."""
    found: list[tuple[str, str]] = []
    _flatten(value, "", found)
    rest = len(found) - most
    return found if rest <= 0 else [*found[:most], ("…", f"and {rest} more")]


# Of a ticket's log: what happened, with what its data holds beside it.
ENTRIES: Final = {
    "opened": "opened it",
    "repeated": "It happened again: {occurrences} times by then",
    "severity_raised": "Its severity rose from {before} to {after}",
    "acknowledged": "has seen it",
    "ack_expired": "It was seen, and nothing followed: it is open again",
    "unassigned": "gave it to nobody",
    "started": "is at work on it",
    "waiting": "has it wait: {reason}",
    "commented": "said: {text}",
    "escalation_ended": "Nobody came, and there is nobody further to tell",
    "response_breached": "It was not answered in the time that was promised",
    "resolution_breached": "It was not resolved in the time that was promised",
    "succeeded": "The job type succeeded again",
    "resolved": "resolved it: {resolution}",
    "auto_resolved": "The plane resolved it: {resolution}",
    "closed": "closed it",
    "auto_closed": "Closed: nothing more was heard of it",
    "reopened": "It is open again: {reason}",
    "merged": "merged it into another",
    "unmerged": "took it out of another again",
    "absorbed": "merged another into it",
    "released": "took another out of it again",
    "joined_storm": "It became part of a storm",
    "storm_grew": "The storm grew: {issue}",
}


class _Said(dict[str, Any]):
    """What an entry's data says; a word that it does not hold is left out."""

    def __missing__(self, name: str) -> str:
        return "…"


def entry(kind: str, data: Mapping[str, Any], *, by: str) -> tuple[str, str]:
    """Return a line of a ticket's log as (who, what they did); who is empty where the sentence is about the ticket.

    What has no sentence of its own says its kind and what it holds.
    """
    who = "The plane" if by == "plane" else by
    sentence = ENTRIES.get(kind)
    if sentence is not None:
        said = sentence.format_map(_Said({name: value for name, value in data.items() if value not in (None, "")}))
        return ("" if sentence[0].isupper() else who), said
    held = ", ".join(text for _, text in flat(data)) if data else ""
    return who, f"{words(kind)}{f': {held}' if held else ''}"


def _flatten(value: Any, path: str, found: list[tuple[str, str]]) -> None:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            _flatten(inner, f"{path}.{name}" if path else str(name), found)
    elif isinstance(value, list) and any(isinstance(each, dict | list) for each in value):
        for place, inner in enumerate(value, start=1):
            _flatten(inner, f"{path} {place}".strip(), found)
    elif isinstance(value, list):
        found.append((path, ", ".join(_plain(each) for each in value) or "none"))
    else:
        found.append((path, _plain(value)))


def _plain(value: Any) -> str:
    if value is None or value == {}:
        return "none"
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)


def _moment(item: Mapping[str, Any]) -> Moment:
    at, what = datetime.fromisoformat(item["at"]), str(item["what"])
    tell = _TOLD.get(what)
    return _ended(at, what, item) if tell is None else tell(at, item)


def _submitted(at: datetime, item: Mapping[str, Any]) -> Moment:
    return Moment(at, f"Submitted by {item.get('by', 'somebody')}", detail=f"trigger: {item.get('trigger', 'user')}")


def _decided(at: datetime, item: Mapping[str, Any]) -> Moment:
    answer = "allowed" if item.get("allowed") else "refused"
    title = f"{str(item['point']).capitalize()} {answer} {ASKED.get(str(item['action']), str(item['action']))}"
    return Moment(at, title, tone(answer), detail=words(item.get("reason_code")))


def _dispatched(at: datetime, item: Mapping[str, Any]) -> Moment:
    return Moment(at, "Got a slot, and was sent to a worker", LIVE, waited_s=item.get("waited_s"))


def _started(at: datetime, item: Mapping[str, Any]) -> Moment:
    return Moment(at, f"Attempt {item.get('attempt', 1)} started", LIVE)


def _late(at: datetime, item: Mapping[str, Any]) -> Moment:
    return Moment(
        at,
        f"A worker that no longer held it reported: {words(item.get('ending'))}",
        WARN,
        detail="kept beside the attempt, and not counted",
    )


def _called_back(at: datetime, _: Mapping[str, Any]) -> Moment:
    return Moment(at, "The module that it waited for called back")


def _waiting(at: datetime, item: Mapping[str, Any]) -> Moment:
    until = item.get("until")
    then = datetime.fromisoformat(until) if until else None
    return Moment(at, f"Waits: {words(item.get('status'))}", LIVE, then_word="until", then=then)


def _cancel(at: datetime, item: Mapping[str, Any]) -> Moment:
    return Moment(at, f"{item.get('by', 'Somebody')} asked to cancel it", WARN, detail=str(item.get("reason", "")))


def _over(at: datetime, item: Mapping[str, Any]) -> Moment:
    outcome = item.get("outcome")
    return Moment(at, f"Over: {words(outcome)}", tone(outcome), detail=words(item.get("reason_code")))


def _ended(at: datetime, what: str, item: Mapping[str, Any]) -> Moment:
    """Tell how a dispatch ended, and who noticed."""
    again = item.get("next_attempt_at")
    detail = [error_in_words(item.get("error")), NOTICED.get(str(item.get("noticed_by")), "")]
    if what in {"handed_back", "unclaimed", "unpublished"}:
        detail.append("no attempt spent")
    return Moment(
        at,
        ENDINGS.get(what, words(what).capitalize()).format(attempt=item.get("attempt", "")).replace("  ", " "),
        tone(what),
        detail=" · ".join(part for part in detail if part),
        then_word="next attempt" if again else "",
        then=datetime.fromisoformat(again) if again else None,
    )


def _by_hand(done: ByHand) -> Moment:
    who = done.by or "Somebody"
    if done.type == events.REPRIORITIZED:
        return Moment(done.at, f"{who} moved it to priority {done.priority or 'another'}")
    return Moment(done.at, f"{who} had it run again")


_TOLD: Final = {
    "submitted": _submitted,
    "decided": _decided,
    "dispatched": _dispatched,
    "started": _started,
    "finished_late": _late,
    "called_back": _called_back,
    "waiting": _waiting,
    "cancel_requested": _cancel,
    "ended": _over,
}
