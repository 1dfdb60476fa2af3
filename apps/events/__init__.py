"""What became true, written with the change that made it so: outbox, event log, deliveries."""
