"""The fault table of the design: each row hurts a real plane and asks the invariants afterwards."""
