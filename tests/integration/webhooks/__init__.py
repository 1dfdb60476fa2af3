"""Webhooks, with real receivers on loopback and the real database."""
