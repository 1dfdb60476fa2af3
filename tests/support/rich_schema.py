"""A schema with something of everything in it, made anew under any name, and filled."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

OF = "shop_of_acme"

RICH = r"""
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE address AS (street text, zip text COLLATE "C");
CREATE DOMAIN positive AS numeric(10, 2) DEFAULT 1 CONSTRAINT positive_check CHECK (VALUE > 0);
CREATE SEQUENCE numbers AS integer START 100 INCREMENT 5 CACHE 3;
CREATE FUNCTION shout(word text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT upper(word) $$;
CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.changes := coalesce(OLD.changes, 0) + 1;
        RETURN NEW;
    END $$;
CREATE TABLE regions (code text PRIMARY KEY, chief bigint, name text NOT NULL);
CREATE TABLE customers (
    id bigint GENERATED ALWAYS AS IDENTITY (START WITH 10) PRIMARY KEY,
    region text NOT NULL REFERENCES regions,
    name varchar(80) COLLATE "C" NOT NULL CONSTRAINT has_name CHECK (name <> ''),
    loud text GENERATED ALWAYS AS (shout(name)) STORED,
    feels mood NOT NULL DEFAULT 'ok',
    felt mood[],
    home address,
    credit positive,
    number integer DEFAULT nextval('numbers'),
    code uuid NOT NULL DEFAULT gen_random_uuid(),
    changes integer,
    born timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (region, name) DEFERRABLE INITIALLY DEFERRED
) WITH (fillfactor = 90);
ALTER TABLE regions ADD CONSTRAINT region_chief FOREIGN KEY (chief) REFERENCES customers DEFERRABLE;
ALTER SEQUENCE numbers OWNED BY customers.number;
CREATE TABLE orders (
    id serial PRIMARY KEY, customer bigint NOT NULL REFERENCES customers ON DELETE CASCADE, parent integer,
    amount positive NOT NULL, "Odd Name" text DEFAULT '50 %'
);
ALTER TABLE orders ADD CONSTRAINT of_order FOREIGN KEY (parent) REFERENCES orders;
ALTER TABLE orders ADD CONSTRAINT cheap CHECK (amount < 1000000) NOT VALID;
CREATE TABLE marks (mood mood PRIMARY KEY, word text);
CREATE TABLE marked (id integer PRIMARY KEY, mood mood REFERENCES marks);
CREATE UNIQUE INDEX happy_ones ON customers (lower(name)) INCLUDE (born) WHERE feels = 'happy';
CREATE INDEX by_street ON customers (((home).street), born DESC NULLS LAST);
CREATE VIEW rich AS SELECT id, name, feels FROM customers WHERE credit > 100;
CREATE VIEW a_rich_and_happy WITH (security_barrier = true) AS
    SELECT id, shout(name) AS name FROM rich WHERE feels = 'happy';
CREATE MATERIALIZED VIEW totals AS SELECT customer, sum(amount) AS whole FROM orders GROUP BY customer;
CREATE UNIQUE INDEX totals_customer ON totals (customer);
CREATE FUNCTION of_customer(wanted customers) RETURNS SETOF orders LANGUAGE sql STABLE
    SET search_path FROM CURRENT AS $$ SELECT * FROM orders WHERE customer = wanted.id $$;
CREATE PROCEDURE tidy() LANGUAGE sql BEGIN ATOMIC DELETE FROM orders WHERE amount = 1; END;
CREATE TRIGGER touch BEFORE UPDATE ON customers FOR EACH ROW WHEN (OLD.name <> NEW.name) EXECUTE FUNCTION touched();
CREATE TRIGGER silent BEFORE INSERT ON customers FOR EACH ROW EXECUTE FUNCTION touched();
ALTER TABLE customers DISABLE TRIGGER silent;
ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY everyone ON orders AS PERMISSIVE FOR SELECT USING (amount > 0);
CREATE TABLE ops_schema_version (version text NOT NULL);
INSERT INTO ops_schema_version VALUES ('1.4');
"""

ROWS = """
INSERT INTO regions (code, name) SELECT 'r' || n, 'region ' || n FROM generate_series(1, 50) AS n;
INSERT INTO customers (region, name, felt, home, credit)
    SELECT 'r' || (1 + n %% 50), 'customer ' || n, '{{ok,sad}}'::mood[], ROW('street ' || n, '1')::address, n
      FROM generate_series(1, {count}) AS n;
UPDATE regions SET chief = (SELECT max(id) FROM customers WHERE region = regions.code);
INSERT INTO orders (customer, parent, amount)
    SELECT 9 + 1 + (n * 7919) %% {count}, CASE WHEN n > 1 THEN 1 + (n * 31) %% (n - 1) END, n
      FROM generate_series(1, {count}) AS n;
INSERT INTO marks VALUES ('sad', ':('), ('ok', ':|'), ('happy', ':)');
INSERT INTO marked SELECT n, 'happy' FROM generate_series(1, 10) AS n;
REFRESH MATERIALIZED VIEW totals;
"""


def make(session: psycopg.Connection[Any], *, schema: str, customers: int = 3000) -> None:
    """Make the schema with so many customers and orders."""
    session.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
    session.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(schema)))
    try:
        session.execute(RICH.encode())
        session.execute(ROWS.replace("%%", "%").format(count=customers).encode())
    finally:
        session.execute("RESET search_path")
