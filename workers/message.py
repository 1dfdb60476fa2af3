"""What travels through the broker: a job's id and fence, and a MAC that only the plane can make. Nothing else.

The broker is trusted with nothing: whoever can write to it can make a worker run only what the plane dispatched, once,
since the fence must still be on offer when the worker claims it.
"""

from __future__ import annotations

import hashlib
import hmac
from uuid import UUID

LARGEST_FENCE = 2**63  # a fence is a bigint; writing out a larger number could itself fail


class ForgedMessageError(Exception):
    """A message that the plane did not make: it is dropped and counted, and nothing runs."""


def sign(*, task: str, job_id: UUID, fence: int, key: bytes) -> str:
    """Return the MAC of a dispatch, hex; it binds the task's name, so that no message runs as another type."""
    text = f"ops-dispatch-1\n{task}\n{job_id}\n{fence}".encode()
    return hmac.new(key, text, hashlib.sha256).hexdigest()


def check(*, task: str, args: object, key: bytes) -> tuple[UUID, int]:
    """Return (job_id, fence) of a message's arguments; raise `ForgedMessageError` for what the plane did not sign."""
    match args:
        case [str(job_text), int(fence), str(mac)] if not isinstance(fence, bool) and 0 < fence < LARGEST_FENCE:
            pass
        case _:
            raise ForgedMessageError(f"{task}: the arguments are not (job_id, fence, mac)")
    try:
        job_id = UUID(job_text)
    except ValueError as error:
        raise ForgedMessageError(f"{task}: the job id is none") from error
    # A forger's text may hold half a surrogate pair, which encodes to nothing: that is a wrong MAC, not another error.
    if not hmac.compare_digest(
        mac.encode(errors="replace"), sign(task=task, job_id=job_id, fence=fence, key=key).encode()
    ):
        raise ForgedMessageError(f"{task}: the MAC is not ours")
    return job_id, fence
