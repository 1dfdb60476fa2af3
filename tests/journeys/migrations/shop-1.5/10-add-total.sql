ALTER TABLE orders ADD COLUMN IF NOT EXISTS total_cents bigint;
