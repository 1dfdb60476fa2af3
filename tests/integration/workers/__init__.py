"""The loops, step by step."""
