"""Subscription: metering."""
