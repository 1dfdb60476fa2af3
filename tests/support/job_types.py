"""A job type for tests of bundles: short as a rule, so that many travel together, and harmful when told to."""

import os
import signal
import time
from collections.abc import Mapping
from typing import Any

from apps.jobs.types import Context, job_type
from tests.support import stalling  # noqa: F401 - lets a test stall a worker of the plane


@job_type(
    "test.moody",
    contract="none",
    diagnostic=True,
    timeout_s=30,
    params={
        "type": "object",
        "additionalProperties": False,
        "properties": {"hang_s": {"type": "number"}, "kill": {"type": "boolean"}},
    },
)
def moody(ctx: Context, params: Mapping[str, Any]) -> None:
    """Do nothing; or hang for a while; or kill the process that runs it."""
    if params.get("kill"):
        os.kill(os.getpid(), signal.SIGKILL)
    until = time.monotonic() + params.get("hang_s", 0)
    while time.monotonic() < until:
        ctx.checkpoint()
        time.sleep(0.001)  # what the type is for: to take its time
