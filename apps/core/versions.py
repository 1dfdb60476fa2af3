"""Rows that carry a version: a change names the one that was read, so that of two at once the later is told."""

from __future__ import annotations


class ChangedMeanwhileError(Exception):
    """The version that was named is not the one there is; `version` says which is."""

    def __init__(self, *, version: int) -> None:
        super().__init__(f"it is at version {version} by now")
        self.version = version
