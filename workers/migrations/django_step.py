"""`django`: the module's own Django migrations on the target's schema, by Django's executor, in a process of their own.

The process has the module's settings and nothing of the plane's: neither its environment's secrets nor its settings. It
is told what to do, and the connection string, over its standard input, and ends when that does: with its parent.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from queue import Empty, Queue
from threading import Thread
from typing import IO, Any, Final

import psycopg

from apps.jobs.types import PermanentError, RetryableError
from workers.migrations import session
from workers.migrations.ledger import Session, State
from workers.migrations.work import Direction, Work

_LOOK_S: Final = 0.2
_MOST_BYTES: Final = 64 * 1024
_OURS: Final = ("DATABASE_URL", "BROKER_URL", "SENTRY_DSN", "EMAIL_URL", "DJANGO_SETTINGS_MODULE")
_WORDS: Final = {
    "fenced_off": "a newer attempt is at the step",
    "bad_step": "the module has no such app or migration",
    "wrong_way": "the module's migrations would go the other way",
    "bad_settings": "the module's settings cannot be used",
    "irreversible": "one of the module's migrations cannot be undone",
}


def run(work: Work, dsn: str) -> None:
    """Bring the target's schema to the migration that the step names; raises PermanentError or RetryableError."""

    def begin(_: Session) -> bool:
        with work.unless_done() as standing:
            if standing is None:
                return False
            work.ledger.note(work.connection, State.RUNNING, done=standing.done, total=standing.total)
            return True

    if not work.transact(begin):
        return
    up = work.direction is Direction.UP
    asked = {
        "dsn": dsn,
        "settings": work.step.settings,
        "app": work.step.app,
        "to": work.step.to if up else work.step.revert_to,
        "up": up,
        "lock_s": work.step.lock_timeout_s,
        "statement_s": work.step.statement_timeout_s,
        "ledger": {
            "schema": work.schema,
            "migration": work.ledger.migration,
            "step": work.ledger.step,
            "checksum": work.ledger.checksum,
            "token": work.ledger.token,
        },
    }
    total = session.contended(work.ctx, lambda: _executed(work, asked))

    def end(_: Session) -> None:
        with work.unless_done() as standing:
            if standing is not None:
                work.finish(done=total, total=total)

    work.transact(end)


def _executed(work: Work, asked: Mapping[str, Any]) -> int:
    """Let the executor's process do it; return how many migrations it went through.

    Raises psycopg.Error of the server's SQLSTATE, PermanentError, RetryableError.
    """
    theirs = {name: value for name, value in os.environ.items() if name not in _OURS and not name.startswith("OPS_")}
    with tempfile.TemporaryFile() as printed:
        process = subprocess.Popen(
            [sys.executable, "-m", "workers.migrations.django_executor"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=printed,
            text=True,
            env={**theirs, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        try:
            return _heard(work, process, asked)
        except (psycopg.Error, PermanentError, RetryableError):
            process.kill()
            process.wait()
            _keep(work, printed)
            raise
        finally:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
            process.wait()


def _keep(work: Work, printed: IO[bytes]) -> None:
    """Put what the module printed, its traceback at the end, where its tenant's data may stand."""
    printed.seek(max(0, printed.seek(0, os.SEEK_END) - _MOST_BYTES))
    path = f"{work.ctx.folder}/django.txt"
    with work.ctx.open(path, "wb") as file:
        file.write(printed.read())
    work.ctx.log("what the module printed is kept", level="warning", path=path)


def _heard(work: Work, process: subprocess.Popen[str], asked: Mapping[str, Any]) -> int:
    words: Queue[str | None] = Queue()
    Thread(target=_listen, args=(process, words), name="django-executor", daemon=True).start()
    try:
        assert process.stdin is not None  # noqa: S101 - asked for
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
    except OSError:
        raise _lost() from None
    total = 0
    while True:
        work.ctx.checkpoint()
        try:
            line = words.get(timeout=_LOOK_S)
        except Empty:
            continue
        if line is None:
            raise _lost()
        said = json.loads(line)
        if "total" in said:
            total = int(said["total"])
            work.ctx.progress(int(said["done"]), total, message=said["at"])
        elif "error" in said:
            raise _error(said["error"])
        else:
            return total


def _listen(process: subprocess.Popen[str], words: Queue[str | None]) -> None:
    """Put every line the process says into `words`, and None at its end."""
    assert process.stdout is not None  # noqa: S101 - asked for
    try:
        for line in process.stdout:
            words.put(line)
    except ValueError:
        """Closed by whoever has heard enough."""
    words.put(None)


def _error(said: Mapping[str, str | None]) -> Exception:
    """Return what the executor's error means."""
    if (sqlstate := said.get("sqlstate")) is not None:
        try:
            return psycopg.errors.lookup(sqlstate)()
        except KeyError:
            return PermanentError("the target refused the step", code=f"sql_{sqlstate}")
    if said.get("code") == "connection_lost":
        return RetryableError("the target broke off", code="connection_lost")
    if (word := _WORDS.get(str(said.get("code")))) is not None:
        return PermanentError(word, code=said["code"])
    return PermanentError(f"one of the module's migrations failed: {said.get('class')}", code="migration_failed")


def _lost() -> RetryableError:
    return RetryableError("the executor's process ended without a word", code="process_lost")
