"""`manage.py evidence_export JOB [--out FILE] [--wait S]`: a run's receipt as one file.

With the key file of `manage.py evidence_keys show`, `docs/verify_evidence.py` checks it on a machine that has nothing
of this plane. --wait: until the run's last record is sealed, which takes a second or less.
"""

from __future__ import annotations

import json
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.core.serializers.json import DjangoJSONEncoder
from django.db import Error

from apps.core.ids import BadIdError, parse_id
from apps.evidence import keys, receipts
from apps.evidence.logs import Log
from apps.jobs.models import Job
from apps.tenancy.context import operator_reading
from apps.tenancy.keys import BadKeyError, KeysMissingError

AGAIN_S = 0.1


class Command(BaseCommand):
    """Export a run's receipt."""

    help = "Write a run's receipt: everything a stranger needs to check it, in one file."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add JOB, --out and --wait."""
        parser.add_argument("job", metavar="JOB", help="the job's id")
        parser.add_argument("--out", type=Path, help="the file to write; printed if left out")
        parser.add_argument("--wait", type=float, default=0.0, help="seconds to wait for the run's end and its seal")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write the receipt; exit 2 with what is wrong, 1 if it is not complete by then."""
        try:
            document = _receipt(options["job"], within_s=options["wait"])
        except (KeysMissingError, BadKeyError) as error:
            raise CommandError(str(error), returncode=2) from error
        except Error as error:
            raise CommandError(f"the database does not answer: {str(error).strip()}", returncode=2) from error
        text = json.dumps(document, indent=1, ensure_ascii=False, cls=DjangoJSONEncoder) + "\n"
        if options["out"] is None:
            self.stdout.write(text, ending="")
        else:
            try:
                options["out"].write_text(text, encoding="utf-8")
            except OSError as error:
                raise CommandError(f"--out {options['out']}: {error.strerror}", returncode=2) from error
        if options["wait"] and not document["complete"]:
            raise CommandError("the run has not ended, or its last record is not sealed yet", returncode=1)


def _receipt(job: str, *, within_s: float) -> dict[str, Any]:
    """Return the receipt, complete if it becomes so in time."""
    try:
        job_id = parse_id(job)
    except BadIdError as error:
        raise CommandError(f"{job}: {error}", returncode=2) from error
    until = time.monotonic() + within_s
    while True:
        with operator_reading():
            found = Job.objects.filter(job_id=job_id).values_list("tenant_id", "region").first()
            if found is None:
                raise CommandError(f"there is no job {job}", returncode=2)
            document = receipts.receipt(subject_id=str(job_id), log=Log(*found), ring=keys.ring())
        if document["complete"] or time.monotonic() >= until:
            return document
        time.sleep(AGAIN_S)  # no seal is announced to anybody; a person waits here, for a second as a rule
