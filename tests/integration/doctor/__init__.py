"""The doctor: it sees what is broken, and nothing where nothing is."""
