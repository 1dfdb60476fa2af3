"""Every write of schedules and triggers, by subject."""
