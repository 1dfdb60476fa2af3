"""Definitions that the journeys carry out; a plane of the tests finds them by OPS_MIGRATIONS."""
