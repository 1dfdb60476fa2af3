"""What a person asks of the job history: the form's fields, read from an address that may have been typed by hand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

from django.http import QueryDict

from apps.core.ids import BadIdError, first_id_at, parse_id
from apps.jobs.lifecycle import State
from apps.jobs.queries import Filters

FIELDS: Final = ("status", "type", "within", "day", "before")
SPANS: Final[dict[str, tuple[str, timedelta]]] = {
    "1h": ("last hour", timedelta(hours=1)),
    "24h": ("last 24 hours", timedelta(days=1)),
    "7d": ("last 7 days", timedelta(days=7)),
    "30d": ("last 30 days", timedelta(days=30)),
}
STATUSES: Final = tuple(state.value for state in State)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was asked, as the form shows it again; `misread` says in words what made no sense and was left out."""

    status: str = ""
    type: str = ""
    within: str = ""
    day: str = ""
    before: str = ""
    misread: tuple[str, ...] = ()

    def query(self, *, paged: bool = True) -> dict[str, str]:
        """Return the address's query that asks the same; not `paged`: from the newest job on."""
        names = FIELDS if paged else FIELDS[:-1]
        return {name: value for name in names if (value := getattr(self, name))}

    @property
    def narrows(self) -> bool:
        """Whether some jobs are left out."""
        return bool(self.query(paged=False))

    def filters(self, *, tenant_id: str, now: datetime) -> Filters:
        """Return the filters of the history; `now` is what the last hours are counted back from."""
        since: datetime | None = now - SPANS[self.within][1] if self.within else None
        before: UUID | None = UUID(self.before) if self.before else None
        if self.day:
            morning = datetime.combine(date.fromisoformat(self.day), time(tzinfo=UTC))
            since = max(since or morning, morning)
            evening = first_id_at(morning + timedelta(days=1))
            before = min(before or evening, evening)
        return Filters(
            tenant_id=tenant_id,
            before=before,
            since=None if since is None else first_id_at(since),
            status=self.status or None,
            job_type=self.type or None,
        )


def read(given: QueryDict, *, types: Iterable[str]) -> Asked:
    """Return what an address asks. What makes no sense is left out and said, so that nobody takes it for an answer."""
    checks = {
        "status": lambda text: text in STATUSES,
        "type": lambda text: text in set(types),
        "within": lambda text: text in SPANS,
        "day": _is_day,
        "before": _is_id,
    }
    values, misread = {}, []
    for name, fits in checks.items():
        text = given.get(name, "").strip()
        if not text:
            continue
        if fits(text):
            values[name] = text
        else:
            misread.append(f"“{text[:60]}” is no {WORDS[name]}: it was left out.")
    return Asked(**values, misread=tuple(misread))


WORDS: Final = {
    "status": "status",
    "type": "job type that runs here",
    "within": "span of time",
    "day": "day",
    "before": "place in the history",
}


def encoded(asked: Asked) -> str:
    """Return what was asked as an address's query."""
    return urlencode(asked.query())


def _is_day(text: str) -> bool:
    try:
        return date(1970, 1, 2) <= date.fromisoformat(text) < date(9999, 1, 1) and len(text) == len("2026-01-31")
    except ValueError:
        return False


def _is_id(text: str) -> bool:
    try:
        parse_id(text)
    except BadIdError:
        return False
    return True
