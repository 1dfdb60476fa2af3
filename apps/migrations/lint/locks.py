"""What squawk says of each text: which statements lock what, for how long, and how the same is had more gently.

squawk is a program of its own (https://squawkhq.com), pinned, and asked text by text. Its rules about what this plane
does itself (time-outs) or decides itself (transactions, phases) are left out; `-- squawk-ignore RULE` is heeded.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from apps.migrations import effects
from apps.migrations.definition import Definition, Phase
from apps.migrations.effects import BadSqlError
from apps.migrations.folders.problems import DOCUMENT
from apps.migrations.lint.findings import Finding, Level

OLDEST_POSTGRES = "15.0"
WITHIN_S = 20

# The runner sets them; and `needs-no-transaction` and `transaction-control` say the same with this plane's way out.
_OURS = (
    "require-lock-timeout",
    "require-statement-timeout",
    "ban-concurrent-index-creation-in-transaction",
    "transaction-nesting",
)
# What `contract` is for, and what a revert does to what its own step made.
_TAKING_AWAY = (
    "ban-drop-column",
    "ban-drop-constraint",
    "ban-drop-default",
    "ban-drop-domain",
    "ban-drop-function",
    "ban-drop-not-null",
    "ban-drop-sequence",
    "ban-drop-table",
    "ban-drop-type",
    "ban-drop-view",
)


class LinterError(RuntimeError):
    """squawk is not there, or did not answer as it should; the message says what would help."""


def findings(definition: Definition) -> Iterator[Finding]:
    """Yield squawk's findings for every text of SQL; that it cannot be asked is an error, never silence."""
    try:
        for step in definition.steps:
            contract = step.phase is Phase.CONTRACT
            for text, file, taking in ((step.text, step.file, contract), (step.revert_text, step.revert_file, True)):
                if text is not None:
                    for found in squawked(text, transaction=step.transaction, taking_away=taking):
                        yield _finding(found, step=step.name, file=file or DOCUMENT)
    except LinterError as error:
        yield Finding(
            level=Level.ERROR, step=None, file=DOCUMENT, line=1, rule="squawk-unavailable", message=str(error)
        )


def squawked(text: str, *, transaction: bool, taking_away: bool = False) -> list[dict[str, Any]]:
    """Return squawk's own findings about a text; none of one that PostgreSQL does not read. Raises `LinterError`."""
    try:
        effects.read(text)
    except BadSqlError:  # said with PostgreSQL's own words already
        return []
    excluded = ",".join(_OURS + (_TAKING_AWAY if taking_away else ()))
    # A configuration of its own: one that lies about in the working directory would decide otherwise.
    command = [_program(), "--config", "/dev/null", "--reporter", "json", "--pg-version", OLDEST_POSTGRES]
    command += ["--exclude", excluded, "--stdin-filepath", "step.sql"]
    command += ["--assume-in-transaction"] if transaction else []
    try:
        done = subprocess.run(
            command, input=effects.filled(text), capture_output=True, text=True, timeout=WITHIN_S, check=False
        )
        found = json.loads(done.stdout)
    except subprocess.TimeoutExpired as error:
        raise LinterError(f"squawk did not answer within {WITHIN_S} s") from error
    except OSError as error:
        raise LinterError(f"squawk cannot be started: {error.strerror}") from error
    except ValueError as error:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise LinterError(f"squawk ended with code {done.returncode} and said: {said[:200]}") from error
    if not isinstance(found, list):
        raise LinterError("squawk answered with something else than a list of findings")
    return found


def _program() -> str:
    """Return where squawk is: beside this Python, as its wheel puts it, else on the PATH. Raises `LinterError`."""
    beside = Path(sysconfig.get_path("scripts")) / "squawk"
    found = str(beside) if beside.is_file() else shutil.which("squawk")
    if found is None:
        raise LinterError("squawk is not installed, so that nobody can tell what the SQL locks: pip install squawk-cli")
    return found


def _finding(found: dict[str, Any], *, step: str, file: str) -> Finding:
    """Return squawk's finding as ours. That it could not parse what PostgreSQL can is no error of the text."""
    rule, message = str(found.get("rule_name")), str(found.get("message"))
    is_error = str(found.get("level")).lower() == "error" and rule != "syntax-error"
    more = f" {found['help']}" if found.get("help") else ""
    return Finding(
        level=Level.ERROR if is_error else Level.WARNING,
        step=step,
        file=file,
        line=int(found.get("line") or 0) + 1,
        rule=f"squawk/{rule}",
        message=f"{message}{more}",
    )
