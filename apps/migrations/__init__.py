"""Migrations: definitions, and the campaigns that carry them to targets in waves that stop themselves."""
