"""What the loaded job types say about how their jobs are treated, for every worker that ends an attempt."""

from __future__ import annotations

from apps.jobs.retry import Retry
from apps.jobs.types import REGISTRY, UnknownJobTypeError


def retry_of(job_type: str) -> Retry:
    """Return the type's retry policy; a type that is no longer installed is not tried again for nothing."""
    try:
        return REGISTRY.get(job_type).retry
    except UnknownJobTypeError:
        return Retry(max_attempts=1)
