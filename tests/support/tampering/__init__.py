"""Random harm to evidence logs by raw SQL, each with what an examination must say of it: the kind, and where.

What is expected is a set of alternatives: any one of them names the harm. A forger who rewrites several tables at once
may be named by what does not fit any more, rather than by what was aimed at.
"""

from collections.abc import Callable

from tests.support.tampering import records, seals
from tests.support.tampering.log import Scene, found

__all__ = ["HARMS", "Scene", "found"]

HARMS: tuple[Callable[[Scene], None], ...] = (
    records.record_byte,
    records.record_rewritten,
    records.record_column,
    records.record_deleted,
    records.record_unnumbered,
    records.records_swapped,
    records.record_moved_away,
    records.forged_append,
    records.truncated,
    seals.node_byte,
    seals.nodes_deleted,
    seals.nodes_shifted,
    seals.nodes_forged,
    seals.checkpoint_column,
    seals.checkpoint_byte,
    seals.checkpoint_deleted,
    seals.checkpoints_swapped,
    seals.step_moved_to_another_log,
)
