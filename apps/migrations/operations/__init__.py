"""Every write of migrations: what people ask, what plans lay, how campaigns move."""
