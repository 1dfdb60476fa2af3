"""Composition root: settings, routes, the Celery app, wiring, and the embedded services. May import everything below it."""
