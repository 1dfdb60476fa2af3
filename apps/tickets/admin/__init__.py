"""Admin pages of tickets: what is owed to whom, how it stands, and what people decide about it."""

from apps.tickets.admin import desk, records, tickets  # noqa: F401 - they register themselves
