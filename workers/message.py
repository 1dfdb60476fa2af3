"""What travels through the broker: a bundle's id, its jobs' ids and fences, and a MAC that only the plane can make.

The broker is trusted with nothing: whoever can write to it can make a worker run only what the plane dispatched, once,
since the fence must still be on offer when the worker claims it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from apps.jobs.bundling import MOST_JOBS

LARGEST_FENCE = 2**63  # a fence is a bigint; writing out a larger number could itself fail


class ForgedMessageError(Exception):
    """A message that the plane did not make: it is dropped and counted, and nothing runs."""


class Message(NamedTuple):
    """A bundle as it travels: `dispatches` are (job_id, fence), in the order in which they are to run."""

    bundle_id: UUID
    dispatches: tuple[tuple[UUID, int], ...]

    def args(self, *, task: str, key: bytes) -> tuple[str, list[tuple[str, int]], str]:
        """Return the arguments of the Celery task `task` that carry this message."""
        plain = [(str(job_id), fence) for job_id, fence in self.dispatches]
        return str(self.bundle_id), plain, _mac(task=task, bundle_id=str(self.bundle_id), plain=plain, key=key)


def check(*, task: str, args: object, key: bytes) -> Message:
    """Return the message that a task's arguments carry; raise `ForgedMessageError` for what the plane did not sign."""
    match args:
        case [str(bundle_id), [*dispatches], str(mac)] if 0 < len(dispatches) <= MOST_JOBS:
            plain = [_plain(each, task=task) for each in dispatches]
        case _:
            raise ForgedMessageError(f"{task}: the arguments are not (bundle_id, dispatches, mac)")
    # A forger's text may hold half a surrogate pair, which encodes to nothing: that is a wrong MAC, not another error.
    expected = _mac(task=task, bundle_id=bundle_id, plain=plain, key=key)
    if not hmac.compare_digest(mac.encode(errors="replace"), expected.encode()):
        raise ForgedMessageError(f"{task}: the MAC is not ours")
    try:
        return Message(UUID(bundle_id), tuple((UUID(job_id), fence) for job_id, fence in plain))
    except ValueError as error:
        raise ForgedMessageError(f"{task}: an id is none") from error


def _plain(dispatch: object, *, task: str) -> tuple[str, int]:
    match dispatch:
        case [str(job_id), int(fence)] if not isinstance(fence, bool) and 0 < fence < LARGEST_FENCE:
            return job_id, fence
    raise ForgedMessageError(f"{task}: a dispatch is not (job_id, fence)")


def _mac(*, task: str, bundle_id: str, plain: Sequence[tuple[str, int]], key: bytes) -> str:
    """Return the MAC of a message, hex; it binds the task's name, so that none runs as another type."""
    lines = "\n".join(f"{job_id} {fence}" for job_id, fence in plain)
    text = f"ops-dispatch-2\n{task}\n{bundle_id}\n{lines}".encode(errors="replace")
    return hmac.new(key, text, hashlib.sha256).hexdigest()
