"""From a checkout and a bare Python to a filled `.venv`: what `make` runs before anything else.

Standard library only, and nothing of the project is imported: when this runs, nothing is installed yet.
"""
