"""Migrations over HTTP: parse, call one operation or query, render."""
