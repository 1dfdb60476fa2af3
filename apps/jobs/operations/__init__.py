"""Every write of a job's life, by compare-and-set on state and fence; one module a moment of that life."""
