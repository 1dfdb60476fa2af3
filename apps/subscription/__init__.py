"""What is permitted: plans, entitlements, limits."""
