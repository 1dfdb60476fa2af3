"""What must run, and where it stands."""
