"""Diagnostics: jobs that do nothing, wait, fail or kill their process, to see what the plane makes of it."""

import os
import signal
import time
from collections.abc import Mapping
from typing import Any

from apps.jobs.types import Context, JobTimeout, PermanentError, Retry, RetryableError, job_type

LONGEST_SLEEP_S = 3600
MOST_LINES = 1_000_000
_NAP_S = 0.05  # how soon a sleeper notices that its time is over or that it should stop

# Diagnostics are run while somebody watches: the next attempt comes soon.
_SOON = Retry(max_attempts=3, backoff="fixed", initial_s=0.5, cap_s=0.5, jitter=0)


@job_type("ops.noop", contract="none", diagnostic=True, timeout_s=30)
def noop(ctx: Context, params: Mapping[str, Any]) -> None:
    """Do nothing, successfully."""


@job_type(
    "ops.sleep",
    params={
        "type": "object",
        "additionalProperties": False,
        "required": ["seconds"],
        "properties": {
            "seconds": {
                "type": "number",
                "minimum": 0,
                "maximum": LONGEST_SLEEP_S,
                "description": "How long to sleep, in seconds.",
            },
            "stubborn": {
                "type": "boolean",
                "default": False,
                "description": "Sleep without a word and without listening, whatever it is told: only a kill ends it.",
            },
        },
        "examples": [{"seconds": 1.5}],
    },
    contract="none",
    diagnostic=True,
    timeout_s=LONGEST_SLEEP_S + 60,
    cancel_grace_s=3,
)
def sleep(ctx: Context, params: Mapping[str, Any]) -> None:
    """Sleep for some seconds, telling how far it is, and stop when told to."""
    began, seconds, told = time.monotonic(), params["seconds"], -1
    ctx.log("going to sleep", seconds=seconds)
    if params.get("stubborn", False):
        _sleep_through(until=began + seconds)
        return
    while (slept := time.monotonic() - began) < seconds:
        ctx.checkpoint()
        if int(slept) > told:
            told = int(slept)
            ctx.progress(told, seconds)
        time.sleep(min(_NAP_S, seconds - slept))
    ctx.progress(seconds, seconds)
    ctx.log("slept", seconds=seconds)


def _sleep_through(*, until: float) -> None:
    while time.monotonic() < until:
        try:
            time.sleep(max(0.0, until - time.monotonic()))
        except JobTimeout:
            continue


@job_type(
    "ops.flood",
    params={
        "type": "object",
        "additionalProperties": False,
        "required": ["lines"],
        "properties": {
            "lines": {"type": "integer", "minimum": 0, "maximum": MOST_LINES, "description": "How many lines to log."},
            "then_sleep": {
                "type": "number",
                "minimum": 0,
                "maximum": LONGEST_SLEEP_S,
                "default": 0,
                "description": "How long to go on after them, in seconds.",
            },
        },
        "examples": [{"lines": 1000}],
    },
    contract="none",
    retry=_SOON,
    diagnostic=True,
    timeout_s=LONGEST_SLEEP_S + 60,
)
def flood(ctx: Context, params: Mapping[str, Any]) -> None:
    """Log very much, to see what of it the plane keeps."""
    for line in range(params["lines"]):
        ctx.log("a line of many", line=line, half=line / 2, words='ß \u2028 "quoted"')
        if line % 1000 == 0:
            ctx.checkpoint()
    until = time.monotonic() + params.get("then_sleep", 0)
    while time.monotonic() < until:
        ctx.checkpoint()
        time.sleep(_NAP_S)


@job_type(
    "ops.fail",
    params={
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "times": {
                "type": "integer",
                "minimum": 0,
                "maximum": 100,
                "default": 1,
                "description": "How many attempts fail before one succeeds.",
            },
            "permanent": {
                "type": "boolean",
                "default": False,
                "description": "Whether the failure is for good, so that no further attempt is made.",
            },
        },
        "examples": [{"times": 2}, {"times": 1, "permanent": True}],
    },
    contract="none",
    retry=_SOON,
    diagnostic=True,
    timeout_s=30,
)
def fail(ctx: Context, params: Mapping[str, Any]) -> None:
    """Fail the first attempts, then succeed."""
    if ctx.attempt > params.get("times", 1):
        return
    if params.get("permanent", False):
        raise PermanentError("failed for good, as asked", code="asked_to_fail")
    raise RetryableError("failed, as asked", code="asked_to_fail")


@job_type(
    "ops.crash",
    params={
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "times": {
                "type": "integer",
                "minimum": 0,
                "maximum": 100,
                "description": "How many attempts kill their process before one succeeds. Left out: every one does.",
            },
        },
        "examples": [{}, {"times": 1}],
    },
    contract="none",
    retry=_SOON,
    diagnostic=True,
    timeout_s=30,
)
def crash(ctx: Context, params: Mapping[str, Any]) -> None:
    """Kill the process that runs it, by SIGKILL: nothing is cleaned up and nobody is told."""
    if "times" in params and ctx.attempt > params["times"]:
        return
    os.kill(os.getpid(), signal.SIGKILL)
