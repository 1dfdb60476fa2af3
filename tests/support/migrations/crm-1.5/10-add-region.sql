-- New rows of the old version, which knows no region, have none until the backfill comes by.
ALTER TABLE customers ADD COLUMN region text;
