"""Kinds of channels, a file each. A new one is its file and one line of `opsplatform/wiring.py`."""
