"""Definitions of migrations for tests: a module "crm" on its way from 1.4 to 1.6, one schema a tenant, and bad ones.

`ROOT` is what OPS_MIGRATIONS would name. `VERSION_1_4`: statements that make a target of version 1.4 in the schema that
the search path names first, rows aside. `BAD`: folders that must not be used, each called after what is wrong with it.
"""

from __future__ import annotations

from pathlib import Path

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
