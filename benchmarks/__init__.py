"""Benchmarks: one file a claim, each with its baseline beside it; `python -m benchmarks` runs them all and tells.

Bare Celery and this plane run in one go on the same embedded PostgreSQL and Valkey, so that their ratio means
something on a machine whose speed drifts. Nothing here is imported by the product.
"""
