"""Which version of each module a worker runs, by what its job types' code says of itself. Pure Python."""

import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import packages_distributions, version

from apps.jobs.fingerprint import module_of
from apps.jobs.types import JobType

MOST_CHARS = 64


def versions_of(job_types: Iterable[JobType]) -> dict[str, str]:
    """Return module (what stands before a type's first dot) → version; a module that says none is left out.

    The Python module's own `__version__`, else its package's, else its distribution's.
    """
    found: dict[str, str] = {}
    for each in job_types:
        said = _said(each.module)
        if said is not None:
            found.setdefault(module_of(each.name), said[:MOST_CHARS])
    return found


def _said(module: str) -> str | None:
    package = module.partition(".")[0]
    for name in dict.fromkeys((module, package)):
        said = getattr(sys.modules.get(name), "__version__", None)
        if isinstance(said, str) and said:
            return said
    return next((version(each) for each in _distributions().get(package, ())), None)


@cache
def _distributions() -> Mapping[str, list[str]]:
    """Return package → distributions; once a process, since all that is installed is read for it."""
    return packages_distributions()
