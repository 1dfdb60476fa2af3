"""Append-only facts about runs and refusals."""
