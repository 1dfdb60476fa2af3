"""Every write of tickets: a guarded statement each, with the log's entry, the event and the evidence in it."""
