SELECT NOT EXISTS (SELECT 1 FROM orders WHERE total_cents < 0);
