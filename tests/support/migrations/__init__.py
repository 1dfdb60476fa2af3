"""Definitions of migrations for tests: a module "crm" on its way from 1.4 to 1.6, one schema a tenant, and bad ones.

`ROOT` is what OPS_MIGRATIONS would name. `VERSION_1_4`: statements that make a target of version 1.4 in the schema that
the search path names first, rows aside. `BAD`: folders that must not be used, each called after what is wrong with it.
`write` makes further ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent
BAD = ROOT / "bad"
CRM_1_5 = ROOT / "crm-1.5"
CRM_1_6 = ROOT / "crm-1.6"

VERSION_1_4 = """
CREATE TABLE customers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    country text NOT NULL
);
CREATE TABLE ops_schema_version (version text NOT NULL);
INSERT INTO ops_schema_version VALUES ('1.4');
"""

TARGETS = {"kind": "tenant", "database": "crm_database", "schema": "tenant_{target}", "endpoint": "https://crm.example"}


def write(
    folder: Path,
    *steps: Mapping[str, Any],
    files: Mapping[str, str] | None = None,
    version_from: str = "1.4",
    **fields: Any,
) -> Path:
    """Write a definition of these steps, crm from 1.4 to 1.5 unless `fields` say otherwise, and return its folder.

    `files`: further ones by their relative paths. A step's `sql` and `undo` become its files, named in its place.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = dict(files or {})
    written = []
    for step in steps:
        entry = dict(step)
        for word, field, ending in (("sql", "file", ".sql"), ("undo", "revert", ".revert.sql")):
            if word in entry:
                entry[field] = f"{entry['name']}{ending}"
                texts[entry[field]] = entry.pop(word)
        written.append(entry)
    document = {"name": "crm", "from": version_from, "to": "1.5", "targets": TARGETS, "steps": written, **fields}
    (folder / "migration.yaml").write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder
