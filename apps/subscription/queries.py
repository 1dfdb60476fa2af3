"""Every read of Subscription's catalogue that others may use."""

from __future__ import annotations

from typing import NamedTuple

from apps.subscription.models import Subscription


class Share(NamedTuple):
    """A tenant's weight beside others and the slots it may hold at any instant."""

    tenant_id: str
    weight: int
    max_running: int


def shares() -> list[Share]:
    """Return every subscribed tenant's share; for loops, whose database role sees all of them."""
    rows = Subscription.objects.filter(state="active").values_list("tenant_id", "plan__weight", "plan__max_running")
    return [Share(*row) for row in rows]
