"""The Python of crm 1.6: a score for each customer."""

from __future__ import annotations

from typing import Any

SCORE = """
WITH found AS (SELECT id FROM customers WHERE id > %(after)s ORDER BY id LIMIT %(limit)s),
     scored AS (UPDATE customers c SET score = length(c.name) FROM found WHERE c.id = found.id RETURNING c.id)
SELECT max(id), count(*) FROM scored
"""


def score(connection: Any, *, after: int | None, limit: int) -> tuple[int | None, int]:
    """Score `limit` customers behind `after`; return the last one's id (None: there are no more) and how many."""
    last, rows = connection.execute(SCORE, {"after": after or 0, "limit": limit}).fetchone()
    return (last if rows == limit else None), rows
