"""`manage.py doctor [--since-hours N] [--json]`: do the promises hold on this plane, now?

It says what it found, in words.
Reads only. Exit code 0 when all hold, 1 when one is broken, 2 when it cannot be told.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error, connection

from apps.core.clock import DatabaseClock
from apps.evidence import heads, keys
from apps.evidence.findings import Finding as Touched
from apps.evidence.queries import overdue
from apps.evidence.verification import verify
from apps.jobs.invariants import MOST_FINDINGS, PROMISES, Finding, examine, silent_processes
from apps.tenancy.context import across_tenants
from apps.tenancy.keys import BadKeyError, KeysMissingError

BROKEN = 1
NO_ANSWER = 2
DAY_H = 24
SEALED_WITHIN_S = 10.0  # the sealer's half second, a restart, and as much again


class Command(BaseCommand):
    """Examine every promise that the database can answer for."""

    help = "Check the promises on the live plane; exit code 1 if one is broken."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add --since-hours and --json."""
        parser.add_argument(
            "--since-hours", type=float, default=DAY_H, help=f"how far back finished jobs are looked at ({DAY_H})"
        )
        parser.add_argument("--json", action="store_true", help="for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        """Examine, and say what was found."""
        try:
            with across_tenants():
                _read_whole_tables()
                since = DatabaseClock.ask(connection).now() - timedelta(hours=options["since_hours"])
                report = [(each.number, each.says, examine(each, since=since.isoformat())) for each in PROMISES]
                report.append((7, "the evidence logs are what was signed, from their start", _touched_evidence()))
                report.append((0, "every process that should beat does", silent_processes()))
        except Error as error:
            raise CommandError(f"the database does not answer: {str(error).strip()}", returncode=NO_ANSWER) from error
        report.sort(key=lambda line: line[0] or len(report) + 1)
        self.stdout.write(json.dumps(_for_programs(report), indent=1) if options["json"] else _in_words(report))
        if any(found for _, _, found in report):
            raise SystemExit(BROKEN)


Report = list[tuple[int, str, list[Finding]]]


def _read_whole_tables() -> None:
    """Let this session read tables from end to end, which the loops' sessions avoid: it asks about all rows."""
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = on")


def _touched_evidence() -> list[Finding]:
    """Return what verifying every log found, and what waits for its seal longer than the sealer may take."""
    try:
        ring = keys.ring()
    except (KeysMissingError, BadKeyError) as error:
        raise CommandError(str(error), returncode=NO_ANSWER) from error
    found = (finding for report in verify(ring=ring, heads=heads.kept()) for finding in report.findings)
    findings = [
        Finding(7, str(each.record_id or each.log.origin), f"{each.kind}: {_about(each)}{each.says}")
        for each, _ in zip(found, range(MOST_FINDINGS), strict=False)
    ]
    late = overdue(older_than_s=SEALED_WITHIN_S)
    return findings + [
        Finding(7, log.origin, f"{count} records wait for their seal since {since}") for log, count, since in late
    ]


def _about(found: Touched) -> str:
    return f"of job {found.subject_id}: " if found.subject_id else ""


def _in_words(report: Report) -> str:
    """Return a line a promise, and below a broken one who breaks it."""
    lines = []
    for number, says, found in report:
        lines.append(f"{'BROKEN' if found else 'holds '}  {number or '-'}  {says}")
        lines += [f"             {finding.who} {finding.wrong}" for finding in found]
        if len(found) == MOST_FINDINGS:
            lines.append("             … and perhaps more")
    broken = sum(bool(found) for _, _, found in report)
    lines.append("all promises hold" if not broken else f"{broken} of {len(report)} promises are broken")
    return "\n".join(lines)


def _for_programs(report: Report) -> dict[str, Any]:
    """Return the same for programs."""
    return {
        "holds": not any(found for _, _, found in report),
        "promises": [
            {
                "number": number or None,
                "says": says,
                "holds": not found,
                "findings": [{"who": finding.who, "wrong": finding.wrong} for finding in found],
            }
            for number, says, found in report
        ],
    }
