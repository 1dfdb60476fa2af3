"""Webhooks and their deliveries over HTTP: parse, call one operation or query, render."""
