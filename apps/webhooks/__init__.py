"""Who outside is told of events: subscriptions, and what became of each event owed to them."""
