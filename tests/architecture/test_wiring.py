"""The page that ties the house together names things that exist, and forgets none."""

import importlib
import pkgutil

import pytest
from django.utils.module_loading import import_string

import apps
from apps.jobs import events as job_events
from apps.jobs import lifecycle
from apps.jobs.types import REGISTRY
from opsplatform import wiring

# Told to the log, the stream and webhooks; nothing in the house reacts to it. Take a line out when something does.
UNHEARD = {
    "operations.alert.acknowledged",
    "operations.alert.raised",
    "operations.alert.resolved",
    "operations.evidence.emission_failing",
    "operations.evidence.emission_resumed",
    "operations.health.recovery",
    "operations.job.audited",
    "operations.job.cancel_requested",
    "operations.job.cancelled",
    "operations.job.pending_audit",
    "operations.job.rejected",
    "operations.job.reprioritized",
    "operations.job.rerouted",
    "operations.job.resubmitted",
    "operations.job.retrying",
    "operations.job.submitted",
    "operations.migration.approved",
    "operations.migration.contracting",
    "operations.migration.drilled",
    "operations.migration.requested",
    "operations.migration.wave_failed",
    "operations.migration.wave_passed",
    "operations.migration.wave_started",
    "operations.queue.paused",
    "operations.queue.resumed",
    "operations.ticket.closed",
    "operations.ticket.created",
    "operations.ticket.reopened",
    "operations.ticket.unmerged",
    "operations.webhook.disabled",
    "operations.webhook.test",
}


def published() -> set[str]:
    """Return every event that an app says it publishes."""
    found: set[str] = set()
    for app in pkgutil.iter_modules(apps.__path__, "apps."):
        if app.name != "apps.events" and importlib.util.find_spec(f"{app.name}.events"):
            found |= set(importlib.import_module(f"{app.name}.events").ALL)
    return found


def test_there_are_events() -> None:
    assert "operations.job.completed" in published()


def test_every_event_is_heard_or_listed_as_unheard() -> None:
    assert published() == set(wiring.REACTIONS) | UNHEARD


def test_no_event_is_both() -> None:
    assert not set(wiring.REACTIONS) & UNHEARD


def test_every_reaction_can_be_imported() -> None:
    paths = {path for each in wiring.REACTIONS.values() for path in each}
    assert [path for path in paths if not callable(import_string(path))] == []


@pytest.mark.parametrize("name", wiring.JOB_TYPES)
def test_every_built_in_module_holds_job_types(name: str) -> None:
    module = importlib.import_module(name)
    assert [job_type for job_type in REGISTRY if job_type.handler.__module__ == module.__name__]


def test_every_job_event_that_a_state_tells_is_published() -> None:
    told = {*job_events.OF_STATE.values(), *job_events.BY_REQUEST, *job_events.OF_AUDIT}
    assert told == set(job_events.ALL)


def test_every_outcome_tells_an_event() -> None:
    assert set(job_events.OF_STATE) >= lifecycle.OUTCOMES
