"""What a schema is made of, so that two can be compared: each object's definition out of the catalogue, and its digest.

Names are relative to the schema: two tenants' schemas of one version have one digest. Left out is what is not the
module's doing: owners, rights, statistics, places on the disk, what belongs to an extension, the plane's own tables and
Django's note of what it made.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Final

from workers.migrations.ledger import LEDGER, Session
from workers.migrations.version import TABLE

SHORT: Final = 16
# Where Django notes which migrations it made: it makes it, and leaves it when it has taken them all back.
DJANGO: Final = ("django_migrations", "django_migrations_id_seq")

# One answer (kind, name, definition) for all kinds. The schema is the only one on the search path, so what PostgreSQL
# writes out itself is relative to it; where it always names it (indexes, bodies of functions) it is taken out here.
_OBJECTS: Final = """
WITH here AS (
    SELECT oid FROM pg_namespace WHERE nspname = %(schema)s
), extended AS (
    SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
), relations AS (
    SELECT c.* FROM pg_class c WHERE relnamespace = (SELECT oid FROM here) AND relname <> ALL (%(ours)s)
       AND NOT EXISTS (SELECT FROM extended e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid)
)
SELECT CASE relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'table' WHEN 'f' THEN 'foreign table' WHEN 'v' THEN 'view'
                    WHEN 'm' THEN 'materialized view' ELSE 'type' END, relname::text,
       concat_ws(' ', relkind, relpersistence, relrowsecurity, relforcerowsecurity,
           CASE WHEN relkind = 'p' THEN pg_get_partkeydef(oid) END, pg_get_expr(relpartbound, oid),
           (SELECT string_agg(inhparent::regclass::text, ',' ORDER BY inhseqno) FROM pg_inherits WHERE inhrelid = oid),
           CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(oid, true) END)
  FROM relations WHERE relkind IN ('r', 'p', 'f', 'v', 'm', 'c')
UNION ALL
SELECT 'column', relname || '.' || attname,
       concat_ws(' ', format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated,
           CASE WHEN attcollation <> typcollation THEN attcollation::regcollation::text END,
           pg_get_expr(adbin, adrelid))
  FROM relations r JOIN pg_attribute a ON attrelid = r.oid JOIN pg_type t ON t.oid = atttypid
  LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
 WHERE relkind IN ('r', 'p', 'f', 'c') AND attnum > 0 AND NOT attisdropped
UNION ALL
SELECT 'constraint', coalesce(relname, typname) || '.' || conname, pg_get_constraintdef(k.oid, true)
  FROM pg_constraint k LEFT JOIN relations r ON r.oid = conrelid LEFT JOIN pg_type t ON t.oid = contypid
 WHERE connamespace = (SELECT oid FROM here) AND contype <> 'n' AND (r.oid IS NOT NULL OR contypid <> 0)
UNION ALL
SELECT 'index', i.relname::text, concat_ws(' ', pg_get_indexdef(indexrelid), indisvalid, indisreplident)
  FROM pg_index JOIN relations r ON r.oid = indrelid JOIN pg_class i ON i.oid = indexrelid
UNION ALL
SELECT 'sequence', relname::text,
       concat_ws(' ', format_type(seqtypid, NULL), seqstart, seqincrement, seqmin, seqmax, seqcache, seqcycle)
  FROM relations r JOIN pg_sequence ON seqrelid = r.oid
UNION ALL
SELECT 'trigger', relname || '.' || tgname, concat_ws(' ', pg_get_triggerdef(t.oid, true), tgenabled)
  FROM relations r JOIN pg_trigger t ON tgrelid = r.oid WHERE NOT tgisinternal
UNION ALL
SELECT 'policy', relname || '.' || polname,
       concat_ws(' ', polcmd, polpermissive, pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))
  FROM relations r JOIN pg_policy ON polrelid = r.oid
UNION ALL
SELECT 'rule', relname || '.' || rulename, pg_get_ruledef(u.oid, true)
  FROM relations r JOIN pg_rewrite u ON ev_class = r.oid WHERE rulename <> '_RETURN'
UNION ALL
SELECT CASE prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END,
       proname || '(' || pg_get_function_identity_arguments(p.oid) || ')',
       concat_ws(' ', pg_get_function_arguments(p.oid), pg_get_function_result(p.oid), lanname, prokind, provolatile,
           proisstrict, prosecdef, proleakproof, proparallel, proretset, array_to_string(proconfig, ','), prosrc,
           pg_get_function_sqlbody(p.oid))
  FROM pg_proc p JOIN pg_language l ON l.oid = prolang
 WHERE pronamespace = (SELECT oid FROM here)
   AND NOT EXISTS (SELECT FROM extended e WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid)
UNION ALL
SELECT CASE typtype WHEN 'e' THEN 'enum' WHEN 'd' THEN 'domain' ELSE 'range' END, typname::text,
       concat_ws(' ', format_type(nullif(typbasetype, 0), typtypmod), typnotnull, typdefault,
           (SELECT string_agg(enumlabel::text, ',' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid),
           (SELECT format_type(rngsubtype, NULL) FROM pg_range WHERE rngtypid = t.oid))
  FROM pg_type t WHERE typnamespace = (SELECT oid FROM here) AND typtype IN ('e', 'd', 'r')
   AND NOT EXISTS (SELECT FROM extended e WHERE e.classid = 'pg_type'::regclass AND e.objid = t.oid)
"""


def objects(connection: Session, *, schema: str) -> dict[str, str]:
    """Return a short digest of each object of the schema, by its kind and name; raises psycopg.Error.

    The session's search path must be the schema alone.
    """
    found: dict[str, str] = {}
    for kind, name, definition in connection.execute(_OBJECTS, {"schema": schema, "ours": [LEDGER, TABLE, *DJANGO]}):
        found[f"{kind} {name}"] = _digest(relative(definition, schema=schema))[:SHORT]
    return found


def digest(found: Mapping[str, str]) -> str:
    """Return the digest of a schema's objects."""
    return f"sha256:{_digest(json.dumps(sorted(found.items()), ensure_ascii=False))}"


def relative(text: str, *, schema: str) -> str:
    """Return a definition in which the schema goes without its name."""
    return re.sub(rf'(?<![\w"]){re.escape(schema)}(?!\w)(\.)?|"{re.escape(schema)}"(\.)?', _nameless, text)


def _nameless(found: re.Match[str]) -> str:
    return "" if found.group(1) or found.group(2) else "<schema>"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
