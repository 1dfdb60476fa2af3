"""The plane's side of the start benchmark: a job that says when its handler began."""

import os
import time
from collections.abc import Mapping
from typing import Any

from apps.jobs.types import Context, job_type

if "BENCH_WITHOUT_EVIDENCE" in os.environ:
    from benchmarks import without_evidence  # noqa: F401 - a switch, of one benchmark alone


@job_type("bench.stamp", contract="none", diagnostic=True, timeout_s=30)
def stamp(ctx: Context, params: Mapping[str, Any]) -> None:  # noqa: ARG001 - every handler is given both
    """Tell when the handler began, by the machine's clock."""
    ctx.metric("began", time.time())
