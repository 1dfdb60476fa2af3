"""What a step is given in place of its job's context when it is only tried: nobody to report to, and an end in time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from apps.jobs.context import Artifact, Context, Level, Scalar
from apps.jobs.outcome import StopReason
from apps.jobs.storage import TenantStorage


class Deadline:
    """When all of a rehearsal has to be over."""

    def __init__(self, seconds: float) -> None:
        """Begin to count."""
        self._until = time.monotonic() + seconds

    @property
    def passed(self) -> bool:
        """Whether it is over."""
        return time.monotonic() >= self._until


class Unheard:
    """A Reporter that keeps nothing, and tells the step to stop once its time is over."""

    def __init__(self, deadline: Deadline) -> None:
        """Take the rehearsal's end."""
        self._deadline = deadline

    def log(self, *, level: Level, message: str, fields: Mapping[str, Scalar]) -> None:
        """Keep nothing."""

    def progress(self, *, done: float, total: float | None, message: str | None) -> None:
        """Keep nothing."""

    def metric(self, *, name: str, value: float) -> None:
        """Keep nothing."""

    def artifact(self, artifact: Artifact) -> None:
        """Keep nothing."""

    def should_stop(self) -> StopReason | None:
        """Return that the time is over, once it is."""
        return StopReason.TIMED_OUT if self._deadline.passed else None


def context(*, folder: Path, deadline: Deadline) -> Context:
    """Return the context of a step that is tried; what it writes to storage lies in `folder`."""
    return Context(
        job_id="rehearsal",
        tenant_id="rehearsal",
        type="migration.step",
        attempt=1,
        fence=1,
        storage=TenantStorage(base_url=folder.resolve().as_uri()),
        reporter=Unheard(deadline),
    )
