"""`manage.py evidence_erase --actor NAME [--dry-run] [--limit N]`: erase evidence that is past its retention.

A record is due when its job ended longer ago than `retention_days` of the job's obligations, and no legal hold covers
it. Payload and salt are erased; leaf, proofs and tree stay, and a signed tombstone in the log says what was erased, by
whom and under which policy. The plane does so daily by itself (the tick `ops.control.retention`); this is for doing it
now, in one's own name: each run takes up to --limit records.
"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from apps.evidence import keys
from apps.evidence.operations.erase import erase
from apps.jobs.retention import past_retention
from apps.tenancy.context import across_tenants
from apps.tenancy.keys import BadKeyError, KeysMissingError

LIMIT = 5000


class Command(BaseCommand):
    """Erases what is past its retention."""

    help = "Erase evidence past its retention; tombstones in the logs explain it."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add --actor, --dry-run and --limit."""
        parser.add_argument("--actor", required=True, help="who erases: it is written into the tombstone")
        parser.add_argument("--dry-run", action="store_true", help="say what is due, and erase nothing")
        parser.add_argument("--limit", type=int, default=LIMIT, help=f"records at most ({LIMIT})")

    def handle(self, *args: Any, **options: Any) -> None:
        """Erase, and say what was erased."""
        try:
            with across_tenants():
                due = past_retention(limit=options["limit"])
                if options["dry_run"]:
                    for (log, days), records in sorted(due.items()):
                        self.stdout.write(f"{log}: {len(records)} records are past {days} days")
                    return
                for each in erase(due, actor=options["actor"], ring=keys.ring()):
                    self.stdout.write(
                        f"{each.log}: {len(each.numbers)} records past {each.retention_days} days were erased;"
                        f" tombstone {each.tombstone}"
                    )
        except (KeysMissingError, BadKeyError) as error:
            raise CommandError(str(error), returncode=2) from error
        except Error as error:
            raise CommandError(f"the database does not answer: {str(error).strip()}", returncode=2) from error
