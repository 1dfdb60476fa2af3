"""Whole ways through a running plane, as its users go them."""
