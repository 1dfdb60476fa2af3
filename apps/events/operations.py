"""Every write of the event log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import UUID

from apps.core.database import preparing
from apps.core.ids import uuid7
from apps.events.models import Event

# An insert for a WITH chain: whoever changes something appends this, so that the event is written by the very statement
# that made it true. `{source}` has event_id, tenant_id, event_type, event_subject and event_data; rows without an
# event_type tell nothing.
APPEND = """
INSERT INTO events (event_id, tenant_id, type, subject, data, occurred_at)
SELECT event_id, tenant_id, event_type, event_subject, event_data, clock_timestamp()
  FROM {source} WHERE event_type IS NOT NULL
"""

NUMBER = """
WITH fresh AS (
    SELECT event_id, row_number() OVER (ORDER BY occurred_at, event_id) AS place
      FROM (SELECT event_id, occurred_at FROM events WHERE sequence IS NULL
             ORDER BY occurred_at, event_id LIMIT %(limit)s) AS oldest
), head AS (SELECT coalesce(max(sequence), 0) AS last FROM events)
UPDATE events SET sequence = head.last + fresh.place FROM fresh, head
 -- The guard is spelled so that no index serves it: a plan that looks for each event among all the unnumbered is
 -- quadratic in the backlog.
 WHERE events.event_id = fresh.event_id AND coalesce(events.sequence, 0) = 0
"""


def number_committed(*, limit: int) -> int:
    """Give the oldest unnumbered events their places in the log; return how many got one.

    Only committed rows are seen, so a number once given is never followed by a smaller one that a slow transaction
    still held: a reader by cursor misses nothing. One numberer at a time (the relay's lock); of two, the second finds
    what the first numbered as it is, or fails on the unique constraint and tries again. A given number never changes.
    """
    with preparing() as cursor:
        cursor.execute(NUMBER, {"limit": limit})
        return int(cursor.rowcount)


def advance(*, consumer: str, position: int) -> None:
    """Note that `consumer` was delivered everything up to `position`; it never goes back."""
    advance_all({consumer: position})


def advance_all(positions: Mapping[str, int]) -> None:
    """Note how far each of some consumers was delivered everything, by one write: each would cost a commit."""
    with preparing() as cursor:
        cursor.execute(
            "INSERT INTO event_consumers (name, position, moved_at)"
            " SELECT name, position, clock_timestamp() FROM unnest(%s::text[], %s::bigint[]) AS c(name, position)"
            " ON CONFLICT (name) DO UPDATE SET position = greatest(event_consumers.position, excluded.position),"
            " moved_at = excluded.moved_at",
            [list(positions), list(positions.values())],
        )


BEGIN = """
INSERT INTO event_consumers (name, position, moved_at)
SELECT name, (SELECT coalesce(max(sequence), 0) FROM events), clock_timestamp() FROM unnest(%s::text[]) AS name
ON CONFLICT (name) DO NOTHING
"""
SET_ASIDE = """
INSERT INTO failed_reactions
       (failed_reaction_id, reaction, event_id, tenant_id, tries, error_class, error_at, failed_at)
VALUES (%(id)s, %(reaction)s, %(event)s, %(tenant)s, %(tries)s, %(error_class)s, %(error_at)s, clock_timestamp())
ON CONFLICT (reaction, event_id) DO UPDATE
   SET tries = failed_reactions.tries + excluded.tries, error_class = excluded.error_class,
       error_at = excluded.error_at, failed_at = excluded.failed_at, again_at = NULL
"""


def begin(*, consumers: Iterable[str]) -> None:
    """Let followers that are new begin at the log's end: what is long over is nobody's news."""
    with preparing() as cursor:
        cursor.execute(BEGIN, [list(consumers)])


def set_aside(*, reaction: str, event: Event, tries: int, error_class: str, error_at: str) -> None:
    """Keep that a reaction failed at an event for good, so that the follower can go on behind it."""
    values = {
        "id": uuid7(),
        "reaction": reaction,
        "event": event.event_id,
        "tenant": event.tenant_id,
        "tries": tries,
        "error_class": error_class[:100],
        "error_at": error_at[-200:],
    }
    with preparing() as cursor:
        cursor.execute(SET_ASIDE, values)


def ask_again(*, failed_reaction_ids: Iterable[UUID]) -> int:
    """Have reactions that were set aside tried once more; return how many."""
    with preparing() as cursor:
        cursor.execute(
            "UPDATE failed_reactions SET again_at = clock_timestamp() WHERE failed_reaction_id = ANY(%s)",
            [list(failed_reaction_ids)],
        )
        return int(cursor.rowcount)


def made_good(*, failed_reaction_id: UUID) -> None:
    """Forget a failure, in the transaction in which the reaction succeeded at last."""
    with preparing() as cursor:
        cursor.execute("DELETE FROM failed_reactions WHERE failed_reaction_id = %s", [failed_reaction_id])
