"""When something is done about a component that is not well, and whether it helped. Decisions only; pure.

A policy names components by a pattern, a condition, an action, how long to wait between two, and how many an hour:
what is repaired again and again is not repaired, and belongs to a person.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from fnmatch import fnmatchcase

HOUR = timedelta(hours=1)


class Verdict(StrEnum):
    """Whether a recovery may begin."""

    ACT = "act"
    COOLING = "cooling"
    EXHAUSTED = "exhausted"


class Outcome(StrEnum):
    """What came of a recovery."""

    RUNNING = "running"  # ordered; its proof is awaited
    HELPED = "helped"
    DID_NOT_HELP = "did_not_help"
    FAILED = "failed"  # the action itself could not be done
    REHEARSED = "rehearsed"  # a dry run: nothing was done
    EXHAUSTED = "exhausted"  # not begun: the hour's budget is spent
    UNKNOWN = "unknown"  # the plane did not trust its ears while it waited for proof


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What a policy says. `reasons`: of a flip, empty: any. `after_s`: how long the condition must have held."""

    pattern: str
    statuses: Collection[str]
    reasons: Collection[str] = ()
    after_s: float = 0
    cooldown_s: float = 60
    budget_per_hour: int = 4

    def covers(self, *, module: str, component: str) -> bool:
        """Say whether the pattern names the component `module/component`."""
        return fnmatchcase(f"{module}/{component}", self.pattern)

    def holds(self, *, status: str, reason: str, since: datetime, muted: bool, now: datetime) -> bool:
        """Say whether the condition is met. What suffers from another's outage is not repaired by itself."""
        if muted or status not in self.statuses or (self.reasons and reason not in self.reasons):
            return False
        return now - since >= timedelta(seconds=self.after_s)


def verdict(rule: Rule, *, begun: Sequence[datetime], now: datetime) -> Verdict:
    """Return whether a recovery may begin, by when the policy's last ones for this component did."""
    lately = [at for at in begun if now - at < HOUR]
    if lately and now - max(lately) < timedelta(seconds=rule.cooldown_s):
        return Verdict.COOLING
    return Verdict.EXHAUSTED if len(lately) >= rule.budget_per_hour else Verdict.ACT


def outcome(*, status: str, patience_over: bool, trusted: bool) -> Outcome:
    """Return what a running recovery has come to, by how the component stands now."""
    if status == "up":
        return Outcome.HELPED
    if not patience_over:
        return Outcome.RUNNING
    return Outcome.DID_NOT_HELP if trusted else Outcome.UNKNOWN
