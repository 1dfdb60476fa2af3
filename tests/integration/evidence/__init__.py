"""Evidence against a real PostgreSQL."""
