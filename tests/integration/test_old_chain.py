"""A new home is set up by squashed migrations, an older one has gone their long way: the schema is the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.conf import settings
from django.db import connection
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from psycopg.conninfo import make_conninfo
from pytest_django import DjangoDbBlocker

from opsplatform import roles
from opsplatform.settings.environment import database_parameters

Rows = set[tuple[Any, ...]]

# What is in a schema, but for the order of columns, and for grants, which set-up lays afresh after either way.
CATALOGUES = {
    "tables": """
        SELECT relname, relkind, relrowsecurity, relforcerowsecurity, relowner::regrole::text, reloptions
          FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind <> 'i'""",
    "columns": """
        SELECT relname, attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid),
               attidentity, attgenerated, attstorage, attcompression, attcollation::regcollation::text
          FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
          LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
         WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), convalidated
          FROM pg_constraint WHERE connamespace = 'public'::regnamespace""",
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "policies": """
        SELECT tablename, policyname, permissive, roles::text, cmd, qual, with_check
          FROM pg_policies WHERE schemaname = 'public'""",
    "triggers": """
        SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(oid), tgenabled
          FROM pg_trigger WHERE NOT tgisinternal""",
    "functions": """
        SELECT oid::regprocedure::text, pg_get_functiondef(oid), proowner::regrole::text
          FROM pg_proc WHERE pronamespace = 'public'::regnamespace""",
    "sequences": """
        SELECT seqrelid::regclass::text, seqtypid::regtype::text, seqstart, seqincrement, seqmin, seqmax, seqcycle,
               (SELECT refobjid::regclass || '.' || attname FROM pg_depend
                  JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid
                 WHERE classid = 'pg_class'::regclass AND objid = seqrelid AND deptype IN ('a', 'i'))
          FROM pg_sequence""",
}


class OldChain(MigrationLoader):
    """Loads the migrations as for a home that is half-way through each squashed one's long way."""

    def build_graph(self) -> None:
        """Take the squashed ones out; whatever depends on one depends on the last that it replaces."""
        self.replace_migrations = False
        super().build_graph()
        for key, migration in self.replacements.items():
            self.graph.remove_replacement_node(key, migration.replaces)


@pytest.fixture
def old(superuser: psycopg.Connection, django_db_blocker: DjangoDbBlocker) -> Iterator[psycopg.Connection]:
    """Another database, made the long way; what is kept is looked at as the superuser."""
    name = f"old_chain_{uuid4().hex[:8]}"
    superuser.execute(f"CREATE DATABASE {name} OWNER ops".encode())
    before = dict(connection.settings_dict)
    try:
        with django_db_blocker.unblock():
            connection.close()
            here = database_parameters(url=settings.ENVIRONMENT.database_url, role="login")
            connection.settings_dict.update(here | {"NAME": name})
            with connection.cursor() as cursor:
                roles.create(cursor)
                cursor.execute("SET ROLE ops_owner")
            executor = MigrationExecutor(connection)
            executor.loader = OldChain(connection)
            executor.migrate(executor.loader.graph.leaf_nodes())
            connection.close()
        info = superuser.info
        with psycopg.connect(make_conninfo(info.dsn, password=info.password, dbname=name), autocommit=True) as session:
            yield session
    finally:
        connection.close()
        connection.settings_dict.update(before)
        superuser.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def schema(session: psycopg.Connection) -> dict[str, Rows]:
    return {what: set(session.execute(query.encode()).fetchall()) for what, query in CATALOGUES.items()}


def test_both_ways_lead_to_the_same_schema(superuser: psycopg.Connection, old: psycopg.Connection) -> None:
    new_way, old_way = schema(superuser), schema(old)
    assert all(new_way.values())
    assert {what: new_way[what] ^ old_way[what] for what in CATALOGUES} == {what: set() for what in CATALOGUES}


def test_migrations_to_come_go_on_from_the_same_models() -> None:
    squashed = MigrationLoader(None)
    new_way, old_way = squashed.project_state(), OldChain(None).project_state()
    assert len(squashed.replacements) > 1
    for before, after in ((old_way, new_way), (new_way, old_way)):
        assert MigrationAutodetector(before, after).changes(graph=squashed.graph) == {}
