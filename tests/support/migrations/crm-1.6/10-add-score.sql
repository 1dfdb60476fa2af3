ALTER TABLE customers ADD COLUMN score bigint;
