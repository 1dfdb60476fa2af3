"""A module's database with a schema a tenant, definitions made by a test, and attempts at their steps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import yaml

from apps.jobs import harness
from apps.migrations import registry
from apps.migrations.definition import Definition
from tests.support.migrations import VERSION_1_4
from workers.catalog import migration_step

CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(kw_only=True)
class Ground:
    """A place to migrate. `root`: the folder of definitions; `dsn`: the module's role, which owns its schemas."""

    root: Path
    storage: Path
    dsn: str
    connection: psycopg.Connection[Any]
    migration: str = field(default_factory=lambda: str(uuid4()))
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def tenant(self, key: str, *, rows: int = 0) -> str:
        """Make a tenant's schema at version 1.4; return its name."""
        schema = f"tenant_{key.replace('-', '_')}"
        self.run(f"CREATE SCHEMA {schema}; SET search_path TO {schema}; {VERSION_1_4}")
        if rows:
            self.run(f"INSERT INTO customers (name, country) SELECT 'n' || n, 'AT' FROM generate_series(1, {rows}) n")
        self.run("RESET search_path")
        return schema

    def run(self, text: str) -> None:
        """Run statements as the module."""
        self.connection.execute(text.encode())

    def ask(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        return self.connection.execute(query.encode(), values).fetchall()

    def one(self, query: str, *values: Any) -> Any:
        """Return the one value of a query."""
        ((value,),) = self.ask(query, *values)
        return value

    def ledger(self, step: str, schema: str = "tenant_acme") -> Any:
        """Return (state, done) of a step, or None."""
        found = self.ask(f"SELECT state, done FROM {schema}.ops_migration_ledger WHERE step = %s", step)
        return found[0] if found else None

    def define(self, *steps: Mapping[str, Any], files: Mapping[str, str], **said: Any) -> Definition:
        """Write a definition and return it as it is read."""
        folder = self.root / "crm"
        folder.mkdir(exist_ok=True)
        document = {
            "name": "crm", "from": "1.4", "to": "1.5", "description": "A change",
            "targets": {"kind": "tenant", "database": "crm_database", "schema": "tenant_{target}"},
            "steps": [{"phase": "expand", "revert": "nothing", **step} for step in steps], **said,
        }  # fmt: skip
        (folder / "migration.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
        for name, text in files.items():
            (folder / name).write_text(text)
        return registry.read(folder)

    def params(self, step: str, direction: str = "up", *, run: int = 1, target: str = "acme", **more: Any) -> Any:
        """Return a job's params."""
        definition = registry.read(self.root / "crm")
        named = {
            "name": definition.name,
            "from": definition.version_from,
            "to": definition.version_to,
            "checksum": definition.checksum,
        }
        return {
            "migration": self.migration, "account": "platform", "definition": named, "target": target,
            "step": step, "direction": direction, "run": run, **more,
        }  # fmt: skip

    def attempt(self, step: str, direction: str = "up", *, fence: int = 1, **more: Any) -> harness.RunResult:
        """Make an attempt at a step in this process."""
        options = {name: more.pop(name) for name in ("should_stop", "tenant_id") if name in more}
        return harness.run(
            migration_step.step,
            params=self.params(step, direction, **more),
            fence=fence,
            storage=self.storage,
            **{"tenant_id": "acme", **options},
        )

    def start(self, step: str, direction: str = "up", *, fence: int = 1, **more: Any) -> subprocess.Popen[str]:
        """Begin an attempt in a process of its own, which says a line of JSON at every word of progress."""
        asked = {"params": self.params(step, direction, **more), "fence": fence, "storage": str(self.storage)}
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.step_process", json.dumps(asked)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=CHECKOUT,
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "opsplatform.settings", "OPS_MIGRATIONS": str(self.root)},
        )
        self.processes.append(process)
        return process


def words(process: subprocess.Popen[str]) -> Any:
    """Yield what an attempt's process says."""
    assert process.stdout is not None
    for line in process.stdout:
        yield json.loads(line)


def code(result: harness.RunResult) -> tuple[str, str | None]:
    """Return how an attempt ended."""
    return result.outcome, result.error.code if result.error is not None else None
