"""`manage.py evidence_verify [--tenant T] [--checkpoint FILE] [--json]`: is every log what was signed, from its start?

Recomputes each record, tree node, root and signature, and names what was changed, taken out, moved or put in. What the
database alone cannot tell, a log cut off at its end or signed anew, is told by the checkpoints that the sealer keeps in
`OPS_HOME`, by those that the evidence sink cosigned, and by those named with --checkpoint.
Exit code 0: intact; 1: something was touched; 2: it cannot be told.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error, connection

from apps.evidence import heads, keys, queries, stored, witnessed
from apps.evidence.cosigning import Witness
from apps.evidence.findings import Report
from apps.evidence.logs import Log
from apps.evidence.notes import BadNoteError, Checkpoint
from apps.evidence.ring import KeyRing
from apps.evidence.verification import verify
from apps.tenancy.context import operator_reading
from apps.tenancy.keys import BadKeyError, KeysMissingError

TOUCHED = 1
NO_ANSWER = 2
UNPROVEN = f"""
SELECT job_id FROM jobs WHERE outcome IS NOT NULL AND (%(tenant)s::text IS NULL OR tenant_id = %(tenant)s)
   AND {queries.UNPROVEN.format(job="jobs")} ORDER BY job_id
"""
OPEN = "SELECT count(*) FROM jobs WHERE outcome IS NULL AND (%(tenant)s::text IS NULL OR tenant_id = %(tenant)s)"


class Command(BaseCommand):
    """Verify the evidence logs, across tenants."""

    help = "Verify the evidence logs and name what was touched; exit code 1 if anything was."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add --tenant, --checkpoint and --json."""
        parser.add_argument("--tenant", help="this tenant's logs alone")
        parser.add_argument(
            "--checkpoint", action="append", default=[], type=Path, help="a signed checkpoint that was kept elsewhere"
        )
        parser.add_argument("--json", action="store_true", help="for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the verdict."""
        try:
            ring = keys.ring()
            more = _kept(options["checkpoint"], ring=ring)
            found = examined(ring=ring, more=more, tenant=options["tenant"])
        except Error as error:
            raise CommandError(f"the database does not answer: {str(error).strip()}", returncode=NO_ANSWER) from error
        except (KeysMissingError, BadKeyError) as error:
            raise CommandError(str(error), returncode=NO_ANSWER) from error
        self.stdout.write(json.dumps(found, indent=1) if options["json"] else in_words(found))
        if found["verdict"] != "intact":
            raise SystemExit(TOUCHED)


def examined(*, ring: KeyRing, more: dict[Log, list[Checkpoint]], tenant: str | None = None) -> dict[str, Any]:
    """Return the verdict as a document: `verdict`, `logs`, `findings`, `missing`, and counts."""
    kept = heads.kept()
    with operator_reading():
        more = _with_witnessed(more, ring=ring)
        known = {*stored.logs(), *kept.logs(), *more}
        only = [log for log in known if tenant in {None, log.tenant_id}]
        reports = list(verify(ring=ring, heads=kept, more=more, only=only)) if only else []
        with connection.cursor() as cursor:
            cursor.execute(UNPROVEN, {"tenant": tenant})
            missing = [str(job_id) for (job_id,) in cursor.fetchall()]
            cursor.execute(OPEN, {"tenant": tenant})
            (still_open,) = cursor.fetchone() or (0,)
    findings = [finding for report in reports for finding in report.findings]
    predicates: Counter[str] = Counter()
    for report in reports:
        predicates.update(report.predicates)
    return {
        "verdict": "touched" if findings or missing else "intact",
        "records": sum(report.records + report.unsealed for report in reports),
        "by_predicate": dict(predicates),
        "logs": [_log(report) for report in reports],
        "findings": [finding.document() for finding in findings],
        "missing": missing,
        "open": still_open,
    }


def in_words(found: dict[str, Any]) -> str:
    """Return the verdict as a person reads it."""
    kinds = ", ".join(f"{number} {predicate}" for predicate, number in sorted(found["by_predicate"].items()))
    lines = [f"{found['verdict']}: {found['records']} records ({kinds or 'none'}), {found['open']} jobs still open"]
    for log in found["logs"]:
        kept = f"kept outside at {log['kept']}" if log["kept"] is not None else "no checkpoint kept outside"
        holes = f" {log['erased']} of them erased and explained," if log["erased"] else ""
        lines.append(
            f"  {log['origin']}: {'intact' if log['intact'] else 'TOUCHED'}, {log['size']} sealed under"
            f" {log['checkpoints']} checkpoints,{holes} {log['unsealed']} waiting, {kept}; root {log['root']}"
        )
    for one in found["findings"]:
        about = f" ({one['predicate']} of job {one['job_id']})" if one["job_id"] else ""
        lines.append(f"  {one['kind']} in the log of {one['tenant_id']} in {one['region']}: {one['finding']}{about}")
    return "\n".join([*lines, *(f"  job {job_id} ended, and no record proves it" for job_id in found["missing"])])


def _log(report: Report) -> dict[str, Any]:
    return {
        "origin": report.log.origin,
        "tenant_id": report.log.tenant_id,
        "region": report.log.region,
        "size": report.size,
        "root": report.root.hex(),
        "checkpoints": report.checkpoints,
        "erased": report.erased,
        "unsealed": report.unsealed,
        "kept": report.kept,
        "intact": report.intact,
    }


def _with_witnessed(more: dict[Log, list[Checkpoint]], *, ring: KeyRing) -> dict[Log, list[Checkpoint]]:
    """Add what the sink's witness cosigned; a file of its that proves nothing ends the command."""
    environment = settings.ENVIRONMENT
    try:
        word = environment.evidence_witness
        witness = Witness.of_word(word) if word else witnessed.witness_in(environment.sink)
        found = witnessed.checkpoints(folder=environment.sink, witness=witness, ring=ring)
    except BadNoteError as error:
        raise CommandError(f"the evidence sink's folder: {error}", returncode=NO_ANSWER) from error
    return {log: [*more.get(log, ()), *found.get(log, ())] for log in {*more, *found}}


def _kept(files: list[Path], *, ring: KeyRing) -> dict[Log, list[Checkpoint]]:
    """Return the checkpoints in `files` by their logs; a file that proves nothing ends the command."""
    found: dict[Log, list[Checkpoint]] = {}
    for path in files:
        try:
            note = path.read_text(encoding="utf-8")
            origin = note.split("\n", 1)[0]
            log = Log.named(origin)
            found.setdefault(log, []).append(ring.opened(note, origin=origin))
        except (OSError, ValueError) as error:  # a `BadNoteError` is a ValueError, and so are bytes that are no text
            raise CommandError(f"--checkpoint {path}: {error}", returncode=NO_ANSWER) from error
    return found
