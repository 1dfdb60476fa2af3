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
from apps.evidence.queries import examine_all
from apps.jobs.invariants import MOST_FINDINGS, PROMISES, Finding, examine, silent_processes
from apps.tenancy.context import across_tenants

BROKEN = 1
NO_ANSWER = 2
DAY_H = 24


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
                report.append((7, "no evidence record was changed behind the plane's back", _changed_records()))
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


def _changed_records() -> list[Finding]:
    """Return the evidence records whose bytes no longer match their leaf."""
    found = (
        Finding(7, str(verdict.record_id), f"of job {verdict.subject_id}: {verdict.finding}")
        for verdict in examine_all()
        if not verdict.intact
    )
    return [finding for finding, _ in zip(found, range(MOST_FINDINGS), strict=False)]


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
