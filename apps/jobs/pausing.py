"""Pauses: what a pause holds back, as values and as the scheduler's own words. Decisions only."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from apps.jobs.scheduling import Gate, Lane


class Target(NamedTuple):
    """What a pause holds: each part that is None means every one."""

    environment: str | None
    tenant_id: str | None
    type: str | None


# For a WHERE: true of a row `e` of `environments` that takes work at all.
OPEN_ENVIRONMENT = """NOT EXISTS (
    SELECT 1 FROM pauses p WHERE p.ended_at IS NULL AND (p.until IS NULL OR p.until > clock_timestamp())
       AND (p.environment_id IS NULL OR p.environment_id = e.name) AND p.tenant_id IS NULL AND p.type IS NULL)"""


def not_paused(row: str) -> str:
    """Return a condition for a WHERE: true of a row of `jobs`, named `row` there, that no pause in force holds."""
    return f"""NOT EXISTS (
    SELECT 1 FROM pauses p WHERE p.ended_at IS NULL AND (p.until IS NULL OR p.until > clock_timestamp())
       AND (p.environment_id IS NULL OR p.environment_id = {row}.environment_id)
       AND (p.tenant_id IS NULL OR p.tenant_id = {row}.tenant_id) AND (p.type IS NULL OR p.type = {row}.type))"""


def held_by_pause(
    *, environment: str, tenant_id: str, job_type: str, pauses: Iterable[tuple[str | None, str | None, str | None]]
) -> bool:
    """Say whether one of `pauses` (targets in force) holds such a job."""
    facts = (environment, tenant_id, job_type)
    return any(all(part in {None, fact} for part, fact in zip(each, facts, strict=True)) for each in pauses)


def pause_gate(pauses: Collection[Target]) -> Gate:
    """Return the gate by which the scheduler's choice passes over what one of `pauses`, those in force, holds."""

    def by_pause(lane: Lane) -> str | None:
        held = held_by_pause(environment=lane.environment, tenant_id=lane.tenant_id, job_type=lane.type, pauses=pauses)
        return "paused" if held else None

    return by_pause
