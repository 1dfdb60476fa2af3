"""Every situation that is built."""

from tests.support.situations import limits, places
from tests.support.situations.registry import SITUATIONS, Situation

__all__ = ["SITUATIONS", "Situation", "limits", "places"]
