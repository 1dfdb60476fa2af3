"""`manage.py status [--json]`: every process of the plane and every address, whether or not anything runs.

Reads what the supervisor and the servers wrote, asks the system whether those processes live, and, where the database
answers, adds the last beat of each. Exit code 0 when the plane is up, 3 when it is not.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.db import DatabaseError, connection

from opsplatform import embedded, os_processes
from opsplatform.supervisor import state

NOT_UP = 3
# The control role sees every process; a login that may not take it has no plane to show either.
BEATS = """
    SELECT pid, role, name, host, state, started_at, beat_at, lease_until > now() AND state <> 'gone'
    FROM processes WHERE state <> 'gone' ORDER BY role, name, started_at
"""


class Command(BaseCommand):
    """Tell what runs and where."""

    help = "Tell every process (role, pid, up since, last beat) and address; exit code 3 when the plane is not up."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Add --json."""
        parser.add_argument("--json", action="store_true", help="for programs")

    def handle(self, **options: Any) -> None:
        """Print the status; exit 3 when the plane is not up."""
        status = gather()
        self.stdout.write(json.dumps(status, indent=1) if options["json"] else in_words(status))
        if not status["up"]:
            raise SystemExit(NOT_UP)


def gather() -> dict[str, Any]:
    """Return {"up", "ready", "home", "addresses", "processes": [{role, name, pid, up_since, last_beat, alive, …}]}."""
    home = settings.ENVIRONMENT.home
    written = state.read(home=home) if state.living(home=home) else {}
    beats = _beats()
    processes = [*_supervised(written, beats), *_servers(home)]
    known = {process["pid"] for process in processes}
    processes += [beat for pid, beat in beats.items() if pid not in known]
    return {
        "up": bool(written) and all(process["alive"] for process in processes if process["restarts"] is not None),
        "ready": bool(written.get("ready")),
        "home": str(home),
        "addresses": written.get("addresses") or state.addresses(environment=settings.ENVIRONMENT),
        "processes": processes,
    }


def _supervised(written: Mapping[str, Any], beats: Mapping[int, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the supervisor and what it keeps, each with its beat if it has one."""
    if not written:
        return []
    # A fork server that is between two lives leaves the plane as well as it was: it is told, and not counted.
    server = [{**written["forkserver"], "restarts": None}] if written.get("forkserver") else []
    kept = [{"name": "supervisor", "restarts": 0, **written}, *server, *written["processes"]]
    return [
        {
            "role": beats.get(one["pid"], {}).get("role") or one["name"].partition("-")[0],
            "name": one["name"],
            "pid": one["pid"],
            "up_since": one["started_at"] if one["pid"] else None,
            "last_beat": beats.get(one["pid"], {}).get("last_beat"),
            "alive": bool(one["pid"]) and os_processes.is_same(pid=one["pid"], mark=one["mark"]),
            "restarts": one["restarts"],
        }
        for one in kept
    ]


def _servers(home: Any) -> list[dict[str, Any]]:
    """Return the embedded servers that run."""
    services = embedded.find(home=home) or embedded.Services()
    return [
        {
            "role": "service",
            "name": name,
            "pid": server.pid,
            "up_since": server.started_at,
            "last_beat": None,
            "alive": True,
            "restarts": None,
        }
        for name, server in (("postgres", services.postgres), ("valkey", services.valkey))
        if server is not None
    ]


def _beats() -> dict[int, dict[str, Any]]:
    """Return pid → process as the database knows it; empty when it does not answer or has no such table yet."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(BEATS)
            rows = cursor.fetchall()
    except DatabaseError:
        return {}
    finally:
        connection.close()
    return {
        pid: {
            "role": role,
            "name": name,
            "pid": pid,
            "host": host,
            "state": at,
            "up_since": _stamp(started_at),
            "last_beat": _stamp(beat_at),
            "alive": alive,
            "restarts": None,
        }
        for pid, role, name, host, at, started_at, beat_at, alive in rows
    }


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def in_words(status: Mapping[str, Any]) -> str:
    """Return the status as a person reads it."""
    how = "up and ready" if status["ready"] else "starting" if status["up"] else "not up"
    lines = [f"The plane on {status['home']} is {how}.", ""]
    row = "  {:<14} {:<16} {:>8}  {:<26} {:<26} {}"
    if status["processes"]:
        lines.append(row.format("role", "name", "pid", "up since", "last beat", "").rstrip())
    for process in status["processes"]:
        alive = "" if process["alive"] else "dead"
        values = (process["role"], process["name"], process["pid"], process["up_since"], process["last_beat"])
        lines.append(row.format(*(str(value or "-") for value in values), alive).rstrip())
    lines += ["", *(f"  {name:<9} {address or '-'}" for name, address in status["addresses"].items())]
    return "\n".join(lines)
