CREATE INDEX CONCURRENTLY customers_name ON public.customers (full_name);
