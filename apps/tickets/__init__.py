"""Tickets: work owed to a person, from the failure that opened it to the proof that it is over."""
