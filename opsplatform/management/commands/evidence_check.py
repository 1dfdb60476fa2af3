"""`manage.py evidence_check [--json]`: are the evidence records still the bytes that were written, and is one missing?

Recomputes every record's leaf. What it cannot see yet: a record whose leaf was changed along with it, or that was taken
out together with its job. That takes the signed log of a later version.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error, connection

from apps.evidence import queries
from apps.tenancy.context import operator_reading

CHANGED = 1
UNPROVEN = """
SELECT job_id FROM jobs WHERE outcome IS NOT NULL
   AND NOT EXISTS (SELECT 1 FROM evidence_records r WHERE r.record_id = jobs.evidence_id) ORDER BY job_id
"""
OPEN = "SELECT count(*) FROM jobs WHERE outcome IS NULL"
LIMITS = "no signature and no Merkle tree yet: a record changed together with its leaf is not found"


class Command(BaseCommand):
    """Examine the whole evidence log, across tenants."""

    help = "Recompute every evidence record's leaf; exit code 1 if one was changed or is missing."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add --json."""
        parser.add_argument("--json", action="store_true", help="for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the verdict."""
        try:
            found = examine()
        except Error as error:
            raise CommandError(f"the database does not answer: {str(error).strip()}", returncode=2) from error
        self.stdout.write(json.dumps(found, indent=1) if options["json"] else in_words(found))
        if found["verdict"] != "intact":
            raise SystemExit(CHANGED)


def examine() -> dict[str, Any]:
    """Return {"verdict": "intact" | "changed", "records", "by_predicate", "changed", "missing", "open", "limits"}."""
    with operator_reading():
        verdicts = list(queries.examine_all())
        with connection.cursor() as cursor:
            cursor.execute(UNPROVEN)
            missing = [str(job_id) for (job_id,) in cursor.fetchall()]
            cursor.execute(OPEN)
            (still_open,) = cursor.fetchone() or (0,)
    changed = [
        {
            "record_id": str(each.record_id),
            "job_id": each.subject_id,
            "predicate": each.predicate,
            "finding": each.finding,
        }
        for each in verdicts
        if not each.intact
    ]
    return {
        "verdict": "changed" if changed or missing else "intact",
        "records": len(verdicts),
        "by_predicate": dict(Counter(each.predicate for each in verdicts)),
        "changed": changed,
        "missing": missing,
        "open": still_open,
        "limits": LIMITS,
    }


def in_words(found: dict[str, Any]) -> str:
    """Return the verdict as a person reads it."""
    kinds = ", ".join(f"{number} {predicate}" for predicate, number in sorted(found["by_predicate"].items()))
    lines = [f"{found['verdict']}: {found['records']} records ({kinds or 'none'}), {len(found['changed'])} changed, "]
    lines[0] += f"{len(found['missing'])} missing, {found['open']} jobs still open"
    lines += [f"  {one['predicate']} of job {one['job_id']}: {one['finding']}" for one in found["changed"]]
    lines += [f"  job {job_id} ended without a record" for job_id in found["missing"]]
    return "\n".join([*lines, found["limits"]])
