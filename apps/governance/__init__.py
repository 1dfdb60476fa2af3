"""What may exist: contracts and policies."""
