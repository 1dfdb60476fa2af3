"""The pages that a tenant's own people read: what runs for them, why it waits, what came of it, what is wrong."""
