"""`manage.py legal_hold place | release | list`: evidence that must not be erased, whatever its retention."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error, IntegrityError

from apps.core.ids import BadIdError, parse_id
from apps.evidence.models import LegalHold
from apps.evidence.operations import holds
from apps.tenancy.context import operator_reading


class Command(BaseCommand):
    """Places, releases and lists legal holds."""

    help = "Forbid the erasure of a job's evidence, or of all a tenant's, until it is released."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the three actions."""
        actions = parser.add_subparsers(dest="action", required=True)
        place = actions.add_parser("place", help="forbid erasure; prints the hold's id")
        place.add_argument("--tenant", required=True)
        place.add_argument("--job", help="this job's evidence alone; everything of the tenant's if left out")
        place.add_argument("--reason", required=True)
        place.add_argument("--by", required=True, help="who places it")
        release = actions.add_parser("release", help="let retention rule again")
        release.add_argument("hold")
        release.add_argument("--by", required=True, help="who releases it")
        actions.add_parser("list", help="print the holds in force")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it; exit 2 with what is wrong."""
        try:
            with operator_reading():
                self._act(options)
        except (BadIdError, holds.NoSuchHoldError) as error:
            raise CommandError(str(error), returncode=2) from error
        except IntegrityError as error:
            raise CommandError(f"there is no tenant {options['tenant']}", returncode=2) from error
        except Error as error:
            raise CommandError(f"the database does not answer: {str(error).strip()}", returncode=2) from error

    def _act(self, options: dict[str, Any]) -> None:
        if options["action"] == "place":
            subject = str(parse_id(options["job"])) if options["job"] else None
            hold = holds.place(
                tenant_id=options["tenant"], subject_id=subject, reason=options["reason"], by=options["by"]
            )
            self.stdout.write(str(hold))
        elif options["action"] == "release":
            holds.release(hold_id=parse_id(options["hold"]), by=options["by"])
        else:
            for each in LegalHold.objects.filter(released_at=None).order_by("hold_id"):
                what = f"job {each.subject_id}" if each.subject_id else "everything"
                self.stdout.write(f"{each.hold_id} {each.tenant_id} {what}: {each.reason} (by {each.placed_by})")
