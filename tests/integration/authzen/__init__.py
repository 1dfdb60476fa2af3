"""Decision points, near and far."""
