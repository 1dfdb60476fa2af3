"""What a ticket's log can say: the kinds of its entries. The log is the truth for clocks and escalation. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What happened. The comment names what its data holds beside who did it."""

    OPENED = "opened"  # source, severity
    REPEATED = "repeated"  # occurrences, job_id
    SEVERITY_RAISED = "severity_raised"  # before, after, occurrences
    ACKNOWLEDGED = "acknowledged"
    ACK_EXPIRED = "ack_expired"  # after_s
    ASSIGNED = "assigned"  # assignee, team
    UNASSIGNED = "unassigned"
    STARTED = "started"
    WAITING = "waiting"  # reason
    COMMENTED = "commented"  # text
    MENTIONED = "mentioned"  # person or team
    WATCHED = "watched"  # person
    UNWATCHED = "unwatched"  # person
    LINKED = "linked"  # kind, ref
    ESCALATED = "escalated"  # step, round, tells
    ESCALATION_ENDED = "escalation_ended"  # nobody came, and the chain has no further step
    RESPONSE_BREACHED = "response_breached"  # goal_s
    RESOLUTION_BREACHED = "resolution_breached"  # goal_s
    SUCCEEDED = "succeeded"  # job_id, record_id, leaf: the job type succeeded again
    RESOLVED = "resolved"  # resolution, record_id
    AUTO_RESOLVED = "auto_resolved"  # resolution, record_id, successes
    CLOSED = "closed"
    AUTO_CLOSED = "auto_closed"  # after_s
    REOPENED = "reopened"  # reason, job_id
    MERGED = "merged"  # into, before (its state then)
    UNMERGED = "unmerged"  # from
    ABSORBED = "absorbed"  # ticket_id: another was merged into this one
    RELEASED = "released"  # ticket_id: and was taken out again
    JOINED_STORM = "joined_storm"  # storm
    STORM_GREW = "storm_grew"  # fingerprint, issue, job_id


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the log, as decisions read it."""

    kind: Kind
    at: datetime
    by: str = "plane"
    data: Mapping[str, Any] = field(default_factory=dict)
