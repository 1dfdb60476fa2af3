"""Schedules and triggers over HTTP: parse, call one operation or query, render."""
