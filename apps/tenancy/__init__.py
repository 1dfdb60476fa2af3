"""Tenants, their context, the principals that act for them, and row-level security."""
