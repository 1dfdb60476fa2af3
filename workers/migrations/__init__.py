"""Migrations at work: what is done to a target's own database or module, step by step, under a fence."""
