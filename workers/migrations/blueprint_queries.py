"""The questions that a blueprint is read by: each gives (name, statement) of every object of one kind in a schema.

Parameters: `schema`, and `leave`, names of tables that are as if they were not there. The session's search path is the
schema alone. See `blueprint` for why.
"""

from __future__ import annotations

from typing import Final

# What CREATE EXTENSION made, only CREATE EXTENSION makes again.
_NOT_AN_EXTENSIONS = (
    "NOT EXISTS (SELECT FROM pg_depend WHERE classid = '{catalog}'::regclass AND objid = {oid} AND deptype = 'e')"
)


def _own(catalog: str, oid: str) -> str:
    return _NOT_AN_EXTENSIONS.format(catalog=catalog, oid=oid)


# A table on its own: no partition, no heir, no ancestor; of no type.
_PLAIN = (
    "c.relkind = 'r' AND NOT c.relispartition AND c.reloftype = 0 AND c.relpersistence <> 't'"
    " AND NOT EXISTS (SELECT FROM pg_inherits AS i WHERE c.oid IN (i.inhrelid, i.inhparent))"
)
_HERE = "relnamespace = %(schema)s::regnamespace AND relname <> ALL (%(leave)s)"
_COPIED = f"c.{_HERE.replace('AND relname', 'AND c.relname')} AND {_PLAIN} AND {_own('pg_class', 'c.oid')}"

COUNT: Final = "SELECT count(*) FROM pg_class WHERE relnamespace = %(schema)s::regnamespace"

ENUMS: Final = f"""
SELECT 'type ' || t.typname, format('CREATE TYPE %%I AS ENUM (%%s)', t.typname,
       (SELECT string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid))
  FROM pg_type AS t
 WHERE t.typnamespace = %(schema)s::regnamespace AND t.typtype = 'e' AND {_own("pg_type", "t.oid")}
 ORDER BY t.typname"""

COMPOSITES: Final = f"""
SELECT 'type ' || t.typname, format('CREATE TYPE %%I AS (%%s)', t.typname, (
       SELECT string_agg(format('%%I %%s', attname, format_type(atttypid, atttypmod))
              || CASE WHEN attcollation <> (SELECT typcollation FROM pg_type WHERE oid = atttypid) AND attcollation <> 0
                      THEN ' COLLATE ' || attcollation::regcollation ELSE '' END, ', ' ORDER BY attnum)
         FROM pg_attribute WHERE attrelid = t.typrelid AND attnum > 0 AND NOT attisdropped))
  FROM pg_type AS t JOIN pg_class AS c ON c.oid = t.typrelid AND c.relkind = 'c'
 WHERE t.typnamespace = %(schema)s::regnamespace AND {_own("pg_type", "t.oid")}
 ORDER BY t.typname"""

DOMAINS: Final = f"""
SELECT 'domain ' || t.typname, format('CREATE DOMAIN %%I AS %%s', t.typname, format_type(t.typbasetype, t.typtypmod))
       || CASE WHEN t.typcollation <> b.typcollation THEN ' COLLATE ' || t.typcollation::regcollation ELSE '' END
       || coalesce(' DEFAULT ' || pg_get_expr(t.typdefaultbin, 0), '')
       || CASE WHEN t.typnotnull AND NOT EXISTS (SELECT FROM pg_constraint WHERE contypid = t.oid AND contype = 'n')
               THEN ' NOT NULL' ELSE '' END
       || coalesce((SELECT string_agg(format(' CONSTRAINT %%I %%s', conname, pg_get_constraintdef(oid)), ''
                                      ORDER BY conname) FROM pg_constraint WHERE contypid = t.oid), '')
  FROM pg_type AS t JOIN pg_type AS b ON b.oid = t.typbasetype
 WHERE t.typnamespace = %(schema)s::regnamespace AND t.typtype = 'd' AND {_own("pg_type", "t.oid")}
 ORDER BY t.typname"""

_SEQUENCE = (
    "format('INCREMENT BY %%s MINVALUE %%s MAXVALUE %%s START WITH %%s CACHE %%s %%s', s.seqincrement, s.seqmin,"
    " s.seqmax, s.seqstart, s.seqcache, CASE WHEN s.seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END)"
)

SEQUENCES: Final = f"""
SELECT 'sequence ' || c.relname,
       format('CREATE SEQUENCE %%I AS %%s %%s', c.relname, format_type(s.seqtypid, NULL), {_SEQUENCE})
  FROM pg_class AS c JOIN pg_sequence AS s ON s.seqrelid = c.oid
 WHERE c.{_HERE.replace("AND relname", "AND c.relname")} AND {_own("pg_class", "c.oid")}
   AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'i')
 ORDER BY c.relname"""

FUNCTIONS: Final = f"""
SELECT CASE p.prokind WHEN 'p' THEN 'procedure ' ELSE 'function ' END || p.oid::regprocedure, pg_get_functiondef(p.oid)
  FROM pg_proc AS p
 WHERE p.pronamespace = %(schema)s::regnamespace AND p.prokind IN ('f', 'p') AND {_own("pg_proc", "p.oid")}
 ORDER BY 1"""

CREATE_TABLES: Final = f"""
SELECT 'table ' || c.relname,
       format('CREATE %%sTABLE %%I (%%s)%%s', CASE c.relpersistence WHEN 'u' THEN 'UNLOGGED ' ELSE '' END, c.relname,
              coalesce(string_agg(a.line, ', ' ORDER BY a.attnum), ''),
              coalesce(' WITH (' || array_to_string(c.reloptions, ', ') || ')', ''))
  FROM pg_class AS c LEFT JOIN LATERAL (
       SELECT a.attnum, format('%%I %%s', a.attname, format_type(a.atttypid, a.atttypmod))
              || CASE WHEN a.attcollation <> t.typcollation THEN ' COLLATE ' || a.attcollation::regcollation ELSE '' END
              || CASE WHEN a.attgenerated = '' THEN ''
                      ELSE format(' GENERATED ALWAYS AS (%%s) %%s', pg_get_expr(d.adbin, c.oid),
                                  CASE a.attgenerated WHEN 's' THEN 'STORED' ELSE 'VIRTUAL' END) END
              || CASE WHEN a.attidentity <> '' THEN
                      format(' GENERATED %%s AS IDENTITY (SEQUENCE NAME %%I %%s)',
                             CASE a.attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END, i.relname, i.line)
                      ELSE '' END
              || CASE WHEN n.conname IS NOT NULL THEN
                      CASE WHEN n.convalidated THEN format(' CONSTRAINT %%I NOT NULL', n.conname)
                           || CASE WHEN n.connoinherit THEN ' NO INHERIT' ELSE '' END ELSE '' END
                      WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END AS line
         FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
         LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
         LEFT JOIN pg_constraint AS n ON n.conrelid = a.attrelid AND n.contype = 'n' AND n.conkey = ARRAY[a.attnum]
         LEFT JOIN LATERAL (
              SELECT q.relname, {_SEQUENCE} AS line FROM pg_depend AS e
                JOIN pg_class AS q ON q.oid = e.objid JOIN pg_sequence AS s ON s.seqrelid = q.oid
               WHERE e.classid = 'pg_class'::regclass AND e.refclassid = 'pg_class'::regclass AND e.deptype = 'i'
                 AND e.refobjid = a.attrelid AND e.refobjsubid = a.attnum) AS i ON a.attidentity <> ''
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS a ON true
 WHERE {_COPIED}
 GROUP BY c.oid, c.relname, c.relpersistence, c.reloptions
 ORDER BY c.relname"""

DEFAULTS: Final = f"""
SELECT format('default of %%s.%%s', c.relname, a.attname),
       format('ALTER TABLE %%I ALTER COLUMN %%I SET DEFAULT %%s', c.relname, a.attname, pg_get_expr(d.adbin, c.oid))
  FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attgenerated = '' AND NOT a.attisdropped
  JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
 WHERE {_COPIED}
 ORDER BY c.relname, a.attnum"""

CONSTRAINTS: Final = f"""
SELECT format('constraint %%s of %%s', k.conname, c.relname),
       format('ALTER TABLE %%I ADD CONSTRAINT %%I %%s', c.relname, k.conname, pg_get_constraintdef(k.oid))
  FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid
 WHERE {_COPIED} AND (k.contype IN ('p', 'u', 'x', 'c') OR (k.contype = 'n' AND NOT k.convalidated))
 ORDER BY c.relname, k.contype <> 'p', k.conname"""

INDEXES: Final = f"""
SELECT 'index ' || x.relname, pg_get_indexdef(x.oid, 0, true)
  FROM pg_class AS c JOIN pg_index AS i ON i.indrelid = c.oid JOIN pg_class AS x ON x.oid = i.indexrelid
 WHERE {_COPIED} AND i.indisvalid
   AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = x.oid AND contype IN ('p', 'u', 'x'))
 ORDER BY x.relname"""

FOREIGN_KEYS: Final = f"""
SELECT format('constraint %%s of %%s', k.conname, c.relname),
       format('ALTER TABLE %%I ADD CONSTRAINT %%I %%s', c.relname, k.conname, pg_get_constraintdef(k.oid))
  FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid JOIN pg_class AS o ON o.oid = k.confrelid
 WHERE {_COPIED} AND k.contype = 'f' AND o.relnamespace = c.relnamespace AND o.relname <> ALL (%(leave)s)
 ORDER BY c.relname, k.conname"""

VIEWS: Final = f"""
SELECT CASE c.relkind WHEN 'v' THEN 'view ' ELSE 'materialized view ' END || c.relname,
       format('CREATE %%sVIEW %%I%%s AS %%s%%s', CASE c.relkind WHEN 'm' THEN 'MATERIALIZED ' ELSE '' END, c.relname,
              coalesce(' WITH (' || array_to_string(c.reloptions, ', ') || ')', ''),
              rtrim(pg_get_viewdef(c.oid), ';'),
              CASE WHEN c.relkind = 'm' AND NOT c.relispopulated THEN ' WITH NO DATA' ELSE '' END)
  FROM pg_class AS c
 WHERE c.relnamespace = %(schema)s::regnamespace AND c.relkind IN ('v', 'm') AND {_own("pg_class", "c.oid")}
 ORDER BY c.relname"""

INDEXES_OF_VIEWS: Final = """
SELECT 'index ' || x.relname, pg_get_indexdef(x.oid, 0, true)
  FROM pg_class AS c JOIN pg_index AS i ON i.indrelid = c.oid JOIN pg_class AS x ON x.oid = i.indexrelid
 WHERE c.relnamespace = %(schema)s::regnamespace AND c.relkind = 'm' AND i.indisvalid
 ORDER BY x.relname"""

TRIGGERS: Final = """
SELECT format('trigger %%s on %%s', t.tgname, c.relname), pg_get_triggerdef(t.oid, true)
  FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
 WHERE c.relnamespace = %(schema)s::regnamespace AND c.relname <> ALL (%(leave)s) AND NOT t.tgisinternal
 ORDER BY c.relname, t.tgname"""

# After its trigger in the list, and so after it at work: pieces are tried in their order.
TRIGGERS_OTHERWISE_ENABLED: Final = """
SELECT format('state of trigger %%s on %%s', t.tgname, c.relname),
       format('ALTER TABLE %%I %%s TRIGGER %%I', c.relname,
              CASE t.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END,
              t.tgname)
  FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
 WHERE c.relnamespace = %(schema)s::regnamespace AND c.relname <> ALL (%(leave)s) AND NOT t.tgisinternal
   AND t.tgenabled <> 'O'
 ORDER BY c.relname, t.tgname"""

ROW_SECURITY: Final = f"""
SELECT 'row security of ' || c.relname,
       format('ALTER TABLE %%I %%s', c.relname, concat_ws(', ',
              CASE WHEN c.relrowsecurity THEN 'ENABLE ROW LEVEL SECURITY' END,
              CASE WHEN c.relforcerowsecurity THEN 'FORCE ROW LEVEL SECURITY' END))
  FROM pg_class AS c
 WHERE {_COPIED} AND (c.relrowsecurity OR c.relforcerowsecurity)
 ORDER BY c.relname"""

POLICIES: Final = f"""
SELECT format('policy %%s on %%s', p.polname, c.relname),
       format('CREATE POLICY %%I ON %%I AS %%s FOR %%s TO %%s', p.polname, c.relname,
              CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
              CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE'
                            ELSE 'ALL' END,
              (SELECT string_agg(CASE WHEN role = 0 THEN 'public' ELSE role::regrole::text END, ', ')
                 FROM unnest(p.polroles) AS role))
       || coalesce(' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')', '')
       || coalesce(' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')', '')
  FROM pg_policy AS p JOIN pg_class AS c ON c.oid = p.polrelid
 WHERE {_COPIED}
 ORDER BY c.relname, p.polname"""

OWNED_SEQUENCES: Final = f"""
SELECT 'owner of sequence ' || s.relname,
       format('ALTER SEQUENCE %%I OWNED BY %%I.%%I', s.relname, c.relname, a.attname)
  FROM pg_depend AS d JOIN pg_class AS s ON s.oid = d.objid AND s.relkind = 'S'
  JOIN pg_class AS c ON c.oid = d.refobjid JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid
 WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'a'
   AND s.relnamespace = c.relnamespace AND {_COPIED}
 ORDER BY s.relname"""

# Where a sequence stands, so that what a step inserts meets none of the copied rows.
SEQUENCES_STAND: Final = """
SELECT 'value of sequence ' || sequencename, format('SELECT setval(%%L, %%s)', quote_ident(sequencename), last_value)
  FROM pg_sequences WHERE schemaname = %(schema)s AND last_value IS NOT NULL AND sequencename <> ALL (%(leave)s)
 ORDER BY sequencename"""

PIECES: Final = (
    (0, ENUMS), (0, DOMAINS), (0, COMPOSITES), (0, SEQUENCES), (0, FUNCTIONS), (0, CREATE_TABLES), (0, DEFAULTS),
    (1, CONSTRAINTS), (1, INDEXES),
    (2, FOREIGN_KEYS),
    (3, VIEWS), (3, INDEXES_OF_VIEWS), (3, TRIGGERS), (3, TRIGGERS_OTHERWISE_ENABLED), (3, ROW_SECURITY), (3, POLICIES),
    (3, OWNED_SEQUENCES), (3, SEQUENCES_STAND),
)  # fmt: skip

TABLES: Final = f"""
SELECT c.relname, c.reltuples, pg_relation_size(c.oid), array_agg(a.attname::text ORDER BY a.attnum),
       array_agg(format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum),
       array_agg(coalesce(e.typnamespace, t.typnamespace) = c.relnamespace ORDER BY a.attnum)
  FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  JOIN pg_type AS t ON t.oid = a.atttypid LEFT JOIN pg_type AS e ON e.oid = t.typelem AND t.typelem <> 0
 WHERE {_COPIED} AND a.attgenerated = ''
 GROUP BY c.oid, c.relname, c.reltuples
 ORDER BY c.relname"""

REFERENCES: Final = f"""
SELECT c.relname, array_agg(a.attname::text ORDER BY k.place), o.relname, array_agg(b.attname::text ORDER BY k.place)
  FROM (SELECT f.oid, f.conrelid, f.confrelid, f.contype, u.here, u.there, u.place
          FROM pg_constraint AS f, unnest(f.conkey, f.confkey) WITH ORDINALITY AS u (here, there, place)
         WHERE f.contype = 'f' AND f.convalidated) AS k
  JOIN pg_class AS c ON c.oid = k.conrelid JOIN pg_class AS o ON o.oid = k.confrelid
  JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.here
  JOIN pg_attribute AS b ON b.attrelid = o.oid AND b.attnum = k.there
 WHERE {_COPIED} AND o.relnamespace = c.relnamespace AND o.relname <> ALL (%(leave)s)
 GROUP BY k.oid, c.relname, o.relname
 ORDER BY c.relname, k.oid"""

LEFT_OUT: Final = f"""
SELECT 'table ' || c.relname || CASE WHEN c.relkind = 'f' THEN ': it is a foreign one'
       WHEN c.reloftype <> 0 THEN ': it is of a type' ELSE ': it is partitioned, or inherits' END
  FROM pg_class AS c WHERE c.{_HERE.replace("AND relname", "AND c.relname")} AND c.relkind IN ('r', 'p', 'f')
   AND NOT ({_PLAIN}) AND {_own("pg_class", "c.oid")}
UNION ALL
SELECT format('constraint %%s of %%s: it refers to another schema', k.conname, c.relname)
  FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid JOIN pg_class AS o ON o.oid = k.confrelid
 WHERE {_COPIED} AND k.contype = 'f' AND o.relnamespace <> c.relnamespace
UNION ALL
SELECT format('index %%s: it is not valid', x.relname) FROM pg_index AS i JOIN pg_class AS x ON x.oid = i.indexrelid
 WHERE x.relnamespace = %(schema)s::regnamespace AND NOT i.indisvalid
UNION ALL
SELECT format('rule %%s on %%s', r.rulename, c.relname) FROM pg_rewrite AS r JOIN pg_class AS c ON c.oid = r.ev_class
 WHERE c.relnamespace = %(schema)s::regnamespace AND r.rulename <> '_RETURN'
UNION ALL
SELECT 'range type ' || t.typname FROM pg_type AS t
 WHERE t.typnamespace = %(schema)s::regnamespace AND t.typtype = 'r' AND {_own("pg_type", "t.oid")}
UNION ALL
SELECT 'aggregate ' || p.oid::regprocedure FROM pg_proc AS p
 WHERE p.pronamespace = %(schema)s::regnamespace AND p.prokind NOT IN ('f', 'p') AND {_own("pg_proc", "p.oid")}
UNION ALL
SELECT 'statistics ' || stxname FROM pg_statistic_ext WHERE stxnamespace = %(schema)s::regnamespace
UNION ALL
SELECT 'operator ' || o.oid::regoperator FROM pg_operator AS o
 WHERE o.oprnamespace = %(schema)s::regnamespace AND {_own("pg_operator", "o.oid")}
UNION ALL
SELECT 'collation ' || o.collname FROM pg_collation AS o
 WHERE o.collnamespace = %(schema)s::regnamespace AND {_own("pg_collation", "o.oid")}
UNION ALL
SELECT 'text search configuration ' || o.cfgname FROM pg_ts_config AS o
 WHERE o.cfgnamespace = %(schema)s::regnamespace AND {_own("pg_ts_config", "o.oid")}
UNION ALL
SELECT 'extension ' || extname FROM pg_extension WHERE extnamespace = %(schema)s::regnamespace"""
