-- The version before asks for name, and fails.
ALTER TABLE customers RENAME COLUMN name TO full_name;
