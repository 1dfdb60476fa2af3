"""A module with Django migrations of its own, for `django` steps: it knows nothing of the plane."""
