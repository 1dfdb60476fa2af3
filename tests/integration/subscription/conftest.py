"""Callers of the API."""

from tests.integration.jobs.conftest import acme, globex, platform

__all__ = ["acme", "globex", "platform"]
