"""Who leads a loop, where what it writes can be bound to it.

The advisory lock of `workers/loop.py` says who should lead; a process that was stopped for a while may believe it still
does. So each new leader takes the next epoch, and what must not be done by two confirms its own in the transaction that
does it (`dispatch.DISPATCH`): the row's lock makes a new leader wait for a dispatch that is under way, and then see it.
"""

from __future__ import annotations

from django.db import connection

from apps.core.database import preparing

TAKE = """
INSERT INTO leaders AS l (role, epoch, taken_at) VALUES (%s, 1, clock_timestamp())
ON CONFLICT (role) DO UPDATE SET epoch = l.epoch + 1, taken_at = excluded.taken_at RETURNING epoch
"""
CONFIRM = "SELECT 1 FROM leaders WHERE role = %s AND epoch = %s FOR SHARE"


class OutOfOfficeError(Exception):
    """Another leader took office since: what was about to be done must not be."""


def take_office(*, role: str) -> int:
    """Begin to lead; return the epoch, beside which all earlier ones are void."""
    with connection.cursor() as cursor:
        cursor.execute(TAKE, [role])
        (epoch,) = cursor.fetchone() or (0,)
        return int(epoch)


def confirm(*, role: str, epoch: int) -> None:
    """Hold the office until the current transaction ends; raise `OutOfOfficeError` if it is another's."""
    with preparing() as cursor:
        cursor.execute(CONFIRM, [role, epoch])
        if cursor.fetchone() is None:
            raise OutOfOfficeError(f"{role}: epoch {epoch} is over")
