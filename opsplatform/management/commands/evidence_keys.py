"""`manage.py evidence_keys show | rotate | retire KID`: the keys that sign the evidence logs.

`show` prints the public keys with the sizes each may have signed, and the sink's witness: the key file that verifiers
need. `rotate` adds a new key, which signs beside the old ones; give verifiers the new key file meanwhile. `retire`
erases an old key's private half for good. Neither stops the sealer, nor needs it to be told.
"""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from apps.evidence import keys
from apps.evidence.operations import rotate
from apps.evidence.witnessed import witness_in
from apps.tenancy.context import operator_reading
from apps.tenancy.keys import BadKeyError, KeysMissingError


class Command(BaseCommand):
    """Shows and rotates the log keys."""

    help = "Show, rotate or retire the keys that sign the evidence logs."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the three actions."""
        actions = parser.add_subparsers(dest="action", required=True)
        actions.add_parser("show", help="print the public keys, as a verifier's key file")
        actions.add_parser("rotate", help="add a key that signs from now on, beside those that do")
        actions.add_parser("retire", help="erase the private half of a key").add_argument(
            "kid", help="the key's id; of an old one that begins with '-': retire -- KID"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it; exit 2 with what is wrong."""
        try:
            if options["action"] == "show":
                self.stdout.write(json.dumps({**keys.ring().published(), "witnesses": _witnesses()}, indent=1))
                return
            with operator_reading():
                if options["action"] == "rotate":
                    self.stdout.write(rotate.begin())
                else:
                    rotate.retire(kid=options["kid"])
        except (keys.NoSuchKeyError, KeysMissingError, BadKeyError) as error:
            raise CommandError(str(error), returncode=2) from error
        except OSError as error:
            raise CommandError(f"OPS_KEYS: {error.filename}: {error.strerror}", returncode=2) from error
        except Error as error:
            raise CommandError(f"the database does not answer: {str(error).strip()}", returncode=2) from error


def _witnesses() -> list[str]:
    """Return the public key of the witness that the evidence sink is, where it is one."""
    environment = settings.ENVIRONMENT
    witness = None if environment.evidence_url else witness_in(environment.sink)
    own = witness.word() if witness else environment.evidence_witness
    return [own] if own else []
