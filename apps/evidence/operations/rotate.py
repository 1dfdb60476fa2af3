"""Changing the keys that sign the logs, with the sizes of all logs at that moment."""

from __future__ import annotations

from apps.core.database import preparing
from apps.evidence import keys
from apps.evidence.logs import Log
from apps.evidence.operations.seal import LOCK, LOCKED

SIZES = "SELECT tenant_id, region, max(size) FROM evidence_checkpoints GROUP BY tenant_id, region"


def begin() -> str:
    """Add a key that signs beside the others from now on; return its id. Call it where all tenants' rows are seen."""
    return keys.begin(sizes=_sizes())


def retire(*, kid: str) -> None:
    """Erase the private half of a key, while nothing is sealed: after this transaction nothing it signs is believed.

    Call it in a transaction that sees all tenants' rows. Raises `keys.NoSuchKeyError` for a key that cannot retire.
    """
    with preparing() as cursor:
        cursor.execute(LOCKED, [LOCK])
    keys.retire(kid, sizes=_sizes())


def _sizes() -> dict[str, int]:
    with preparing() as cursor:
        cursor.execute(SIZES)
        return {Log(tenant_id, region).origin: size for tenant_id, region, size in cursor.fetchall()}
