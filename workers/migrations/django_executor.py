"""The process of a `django` step: its standard input says what to do; it says a line of JSON after each migration.

It ends when its standard input does: whoever began it is gone then. Every migration that is atomic is one transaction
with a look at the ledger: an executor whose attempt was given up does nothing any more.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Thread
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from apps.jobs.outcome import JobError, PermanentError
from workers.migrations import target
from workers.migrations.ledger import APPLICATION, Ledger

Say = Callable[[Mapping[str, Any]], None]


def main() -> None:
    """Do what standard input says."""
    asked = json.loads(sys.stdin.readline())
    Thread(target=_end_with_parent, daemon=True).start()
    say = _voice()
    try:
        _set_up(asked)
        _migrate(asked, say)
    except Exception as error:  # noqa: BLE001 - whatever it is, a word goes back that quotes no row
        traceback.print_exc()  # to the tenant's own storage
        say({"error": _meaning(error)})
    else:
        say({"ended": True})


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


def _voice() -> Say:
    """Return what speaks to the parent; what the module's own code prints goes where errors go."""
    line = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def say(word: Mapping[str, Any]) -> None:
        line.write(json.dumps(word) + "\n")
        line.flush()

    return say


def _set_up(asked: Mapping[str, Any]) -> None:
    """Be the module, with one database: the target."""
    os.environ["DJANGO_SETTINGS_MODULE"] = asked["settings"]
    try:
        import django  # noqa: PLC0415 - the module's settings first
        from django.conf import settings  # noqa: PLC0415

        settings.DATABASES = {"default": _database(asked["dsn"])}
        settings.DATABASE_ROUTERS = []
        django.setup()
    except Exception:  # noqa: BLE001 - the module's own code, and its text may say anything
        traceback.print_exc()
        raise PermanentError("the module's settings cannot be used", code="bad_settings") from None


def _database(dsn: str) -> dict[str, Any]:
    """Return a connection string as Django's settings say it."""
    parts = dict(conninfo_to_dict(dsn))
    names = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    said = {name: str(parts.pop(word, None) or "") for name, word in names.items()}
    parts["application_name"] = APPLICATION
    return {
        "ENGINE": "django.db.backends.postgresql",
        **said,
        "NAME": said["NAME"] or said["USER"],
        "OPTIONS": {**parts, "connect_timeout": target.CONNECT_S},
        "TEST": {},
    }


def _migrate(asked: Mapping[str, Any], say: Say) -> None:
    """Bring the app to the named migration, one way only."""
    from django.db import connection  # noqa: PLC0415
    from django.db.backends.signals import connection_created  # noqa: PLC0415
    from django.db.migrations.exceptions import NodeNotFoundError  # noqa: PLC0415
    from django.db.migrations.executor import MigrationExecutor  # noqa: PLC0415

    ledger = Ledger(**asked["ledger"])

    def settle(**_: Any) -> None:
        target.settle(connection.connection, schema=ledger.schema)
        target.bound(
            connection.connection,
            schema=ledger.schema,
            lock_s=asked["lock_s"],
            statement_s=asked["statement_s"],
            local=False,
        )

    class Fenced(MigrationExecutor):
        """Looks at the ledger in the transaction of each migration."""

        def apply_migration(self, state: Any, migration: Any, *args: Any, **options: Any) -> Any:
            with _fenced(ledger, migration):
                return super().apply_migration(state, migration, *args, **options)

        def unapply_migration(self, state: Any, migration: Any, *args: Any, **options: Any) -> Any:
            with _fenced(ledger, migration):
                return super().unapply_migration(state, migration, *args, **options)

    connection_created.connect(settle, weak=False)
    total, done = 0, 0

    def progress(action: str, migration: Any = None, fake: bool = False) -> None:  # noqa: ARG001 - Django's own form
        nonlocal done
        if action in {"apply_success", "unapply_success"}:
            done += 1
            say({"done": done, "total": total, "at": str(migration)})

    executor = Fenced(connection, progress)  # type: ignore[arg-type]  # its callback is typed by an overload
    goal = [(asked["app"], None if asked["to"] == "zero" else asked["to"])]
    if asked["app"] not in executor.loader.migrated_apps or (goal[0][1] and goal[0] not in executor.loader.graph.nodes):
        raise PermanentError("no such migration", code="bad_step")
    try:
        plan = executor.migration_plan(goal)
    except NodeNotFoundError:
        raise PermanentError("no such migration", code="bad_step") from None
    if any(backwards is asked["up"] for _, backwards in plan):
        raise PermanentError("the plan goes the other way", code="wrong_way")
    total = len(plan)
    say({"done": 0, "total": total, "at": ""})
    executor.migrate(goal, plan)


@contextmanager
def _fenced(ledger: Ledger, migration: Any) -> Iterator[None]:
    from django.db import connection, transaction  # noqa: PLC0415

    if migration.atomic:
        with transaction.atomic():
            connection.ensure_connection()
            ledger.claim(connection.connection)
            yield
        return
    with transaction.atomic():
        connection.ensure_connection()
        ledger.claim(connection.connection)
    yield


def _meaning(error: Exception) -> dict[str, str | None]:
    """Return what an error means, in words that are nobody's data."""
    from django.db.migrations.exceptions import IrreversibleError  # noqa: PLC0415

    if isinstance(error, JobError):
        return {"code": error.code}
    if isinstance(error, IrreversibleError):
        return {"code": "irreversible"}
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, psycopg.Error):
        cause = cause.__cause__
    if isinstance(cause, psycopg.Error):
        lost = cause.sqlstate is None and isinstance(cause, psycopg.OperationalError)
        return {"code": "connection_lost"} if lost else {"sqlstate": cause.sqlstate, "class": type(cause).__name__}
    return {"class": type(error).__name__}


if __name__ == "__main__":
    main()
