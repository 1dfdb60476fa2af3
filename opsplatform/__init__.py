"""Composition root: settings, routes, the Celery app, wiring, embedded services. May import everything below it."""
