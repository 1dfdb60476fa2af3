"""Who lives and who does not: components that report, flip, recover, and are acted upon when they do not."""
