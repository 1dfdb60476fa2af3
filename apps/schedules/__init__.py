"""Jobs that nobody submits at the moment: by the clock (schedules), and by what happened (triggers)."""
