"""What is reported as trouble, by whoever noticed it: all that a ticket is made of. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from apps.tickets.lifecycle import Severity


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """Something that somebody should look at. `sequence`: its event's place in the log, by which it is counted once.

    `about` says what is known of it, by class, code and place, never by data. `automatic`: nobody asked for just this
    ticket, so a flood of such may become one.
    """

    tenant_id: str | None
    module: str
    issue: str
    source: str
    kind: str = ""
    severity: Severity = Severity.ERROR
    fingerprint: str | None = None
    description: str = ""
    about: dict[str, Any] = field(default_factory=dict)
    by: str = "plane"
    job_id: UUID | None = None
    sequence: int | None = None
    at: datetime | None = None
    links: Sequence[tuple[str, str]] = ()
    assignee: str | None = None
    team: str | None = None
    automatic: bool = True
