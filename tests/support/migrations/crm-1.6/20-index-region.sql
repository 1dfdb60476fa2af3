CREATE INDEX CONCURRENTLY IF NOT EXISTS customers_region ON customers (region);
