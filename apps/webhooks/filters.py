"""What a webhook may ask for: event types, whole or by their beginning. Pure."""

from __future__ import annotations

import re
from typing import Final

MOST: Final = 20
# As triggers spell it: operations.job.failed, or operations.job.* for all that begin so.
EVENT_TYPE: Final = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*(\.\*)?")


def well_formed(wanted: str) -> bool:
    """Say whether a filter is a type, or a beginning like operations.job.*."""
    return EVENT_TYPE.fullmatch(wanted) is not None
