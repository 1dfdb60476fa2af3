"""Every write of health: signals, looks, recovery."""
