"""Celery tasks and long-running loops: load, call one operation, nothing else."""
