"""`manage.py replay_decision JOB [--json]`: would it be decided alike today?

Asks the decision points again what they were asked about a job and shows what they say otherwise. Nothing is written,
and the job is left alone. Exit code 0: all alike; 1: something differs; 2: it cannot be told.
"""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from apps.core.authzen import DecisionPointAwayError
from apps.core.ids import BadIdError, parse_id
from apps.jobs import points
from apps.jobs.replay import Replayed, kept_decisions, replayed
from apps.tenancy.context import operator_reading

DIFFERS = 1
NO_ANSWER = 2


class Command(BaseCommand):
    """Asks the decision points again."""

    help = "Ask again what was decided about a job, and show the difference; exit code 1 if there is one."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add JOB and --json."""
        parser.add_argument("job", metavar="JOB", help="the job's id")
        parser.add_argument("--json", action="store_true", help="for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        """Ask, and print what was said then and now."""
        try:
            with operator_reading():
                kept = kept_decisions(parse_id(options["job"]))
            if not kept:
                raise CommandError(f"nothing was decided about a job {options['job']}", returncode=NO_ANSWER)
            found = replayed(kept, points=points.in_force())
        except (BadIdError, DecisionPointAwayError) as error:
            raise CommandError(str(error), returncode=NO_ANSWER) from error
        except Error as error:
            raise CommandError(f"the database does not answer: {str(error).strip()}", returncode=NO_ANSWER) from error
        documents = [each.document() for each in found]
        self.stdout.write(json.dumps(documents, indent=1) if options["json"] else _in_words(found))
        if any(each.differs for each in found):
            raise SystemExit(DIFFERS)


def _in_words(found: list[Replayed]) -> str:
    lines = []
    for each in found:
        kept = each.kept
        verdict = "alike" if not each.differs else "DIFFERS"
        lines.append(
            f"{verdict:8} {kept.point}, {kept.question.action}, decided {kept.decided_at:%Y-%m-%d %H:%M:%S} UTC"
            f" ({kept.decision_id})"
        )
        lines += [f"           {name}: then {kept.said[name]}, now {each.now[name]}" for name in each.differs]
    return "\n".join(lines)
