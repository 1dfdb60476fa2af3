"""When a job that depends on others may run: the rules, over how the others ended. Decisions only: values in and out.

The rules are Airflow's. What an upstream's end means to them is one of three things: it succeeded; it failed (also
timed out, rejected, cancelled by somebody, or cancelled because its own upstream failed); it was skipped, because its
own rule asked for a failure and there was none.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

MOST = 200


class Rule(StrEnum):
    """What has to be true of the upstreams for a job to run. The comment says when that is known."""

    ALL_SUCCESS = "all_success"  # at the first that did not succeed, or the last that did
    ALL_DONE = "all_done"  # when the last has ended, however
    ONE_SUCCESS = "one_success"  # at the first success, without waiting for the others
    ONE_FAILED = "one_failed"  # at the first failure, without waiting for the others
    NONE_FAILED = "none_failed"  # as all_success, but a skipped one does no harm
    ALWAYS = "always"  # at once


class Settled(StrEnum):
    """What an upstream's end means to a rule."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"


class Verdict(StrEnum):
    """What a rule says so far."""

    WAIT = "wait"
    RUN = "run"
    UPSTREAM_FAILED = "upstream_failed"  # it cannot come true any more, by somebody's failure
    SKIP = "skipped"  # it cannot come true any more, and nothing failed


def settle(*, outcome: str, reason_code: str | None) -> Settled:
    """Return what the end of an upstream means: its outcome, and whether it was skipped."""
    if outcome == "succeeded":
        return Settled.SUCCEEDED
    return Settled.SKIPPED if outcome == "cancelled" and reason_code == Verdict.SKIP else Settled.FAILED


def judge(rule: Rule, upstreams: Iterable[Settled | None]) -> Verdict:  # noqa: PLR0911 - a table reads best as one
    """Return what `rule` says of `upstreams`, None being one that has not ended."""
    ends = list(upstreams)
    open_ = None in ends
    failed, skipped, succeeded = (word in ends for word in (Settled.FAILED, Settled.SKIPPED, Settled.SUCCEEDED))
    if rule is Rule.ALWAYS:
        return Verdict.RUN
    if rule is Rule.ALL_SUCCESS or rule is Rule.NONE_FAILED:
        if failed:
            return Verdict.UPSTREAM_FAILED
        if skipped and rule is Rule.ALL_SUCCESS:
            return Verdict.SKIP
    elif (rule is Rule.ONE_SUCCESS and succeeded) or (rule is Rule.ONE_FAILED and failed):
        return Verdict.RUN
    if open_:
        return Verdict.WAIT
    if rule is Rule.ONE_SUCCESS:
        return Verdict.UPSTREAM_FAILED if failed else Verdict.SKIP
    return Verdict.SKIP if rule is Rule.ONE_FAILED else Verdict.RUN
