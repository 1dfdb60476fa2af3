"""The `ops` commands."""
