"""Processes that beat: their rows, and the leases of those that run jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson

LEASE_S = 15
BEAT_EVERY_S = 5

# Statements, not functions: a process beats over a connection of its own, in a thread of its own, so that neither a
# long transaction nor a worker's pool can stop its heart.
REGISTER = """
INSERT INTO processes
       (process_id, role, name, host, pid, environment, capacity, versions, state, started_at, beat_at, lease_until)
VALUES (%(process_id)s, %(role)s, %(name)s, %(host)s, %(pid)s, %(environment)s, %(capacity)s, %(versions)s, 'live',
        clock_timestamp(), clock_timestamp(), clock_timestamp() + make_interval(secs => %(lease_s)s))
"""

BEAT = """
UPDATE processes SET beat_at = clock_timestamp(), state = %(state)s,
       lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s)
 WHERE process_id = %(process_id)s AND state <> 'gone'
"""

LEAVE = "UPDATE processes SET state = 'gone', lease_until = clock_timestamp() WHERE process_id = %(process_id)s"

FORGET = "DELETE FROM processes WHERE state = 'gone' AND beat_at < clock_timestamp() - interval '1 day'"


def registration(
    *,
    process_id: UUID,
    role: str,
    name: str,
    host: str,
    pid: int,
    environment: str | None,
    capacity: int,
    versions: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the parameters of `REGISTER`."""
    return {
        "process_id": process_id,
        "role": role,
        "name": name,
        "host": host,
        "pid": pid,
        "environment": environment,
        "capacity": capacity,
        "versions": orjson.dumps(dict(versions or {})).decode(),
        "lease_s": LEASE_S,
    }
