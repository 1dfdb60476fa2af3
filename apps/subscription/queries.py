"""Every read of Subscription's catalogue that others may use."""

from __future__ import annotations

from typing import NamedTuple

from apps.core.database import preparing


class Share(NamedTuple):
    """A tenant's weight beside others and the slots it may hold at any instant."""

    tenant_id: str
    weight: int
    max_running: int


SHARES = """
SELECT s.tenant_id, p.weight, p.max_running FROM subscriptions s JOIN plans p USING (plan_id) WHERE s.state = 'active'
"""


def shares() -> list[Share]:
    """Return every subscribed tenant's share; for loops, whose database role sees all of them."""
    with preparing() as cursor:
        cursor.execute(SHARES)
        return [Share(*row) for row in cursor.fetchall()]
