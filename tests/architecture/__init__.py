"""What linters cannot hold: that the two ends of every wire are there."""
