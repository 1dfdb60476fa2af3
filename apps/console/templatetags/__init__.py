"""What the pages' templates say beyond Django's words."""
