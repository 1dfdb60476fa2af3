"""Which failures are the same one again: a failure's fingerprint, and what it is made of. Pure.

A job that fails a thousand times owes somebody one ticket and one alert, not a thousand. Alike are failures of one
tenant, module, job type and error class whose messages differ only in what differs with each run: numbers, ids, ports,
offsets, paths, times. A module author's own sentence is all that the plane keeps of a message (`outcome.py`); of an
error without one, its fingerprint kept there, of class and functions, stands in the sentence's place.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

MOST_CHARACTERS: Final = 1024
NOBODY: Final = "-"  # in a tenant's place: what is the platform's own; no tenant's id can be spelled so

# In this order: what is longest and means most goes first, so that a time within a path is not found as a number. Each
# pattern reads a text once: the classes of a repeated group share no character with what separates them.
_VARYING: Final = (
    (re.compile(r"[a-z][a-z0-9+.-]*://[^\s'\"<>]+"), "<url>"),
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "<id>"),
    (re.compile(r"\d{4}-\d\d-\d\d(?:[t ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?: ?z\b| ?utc\b|[+-]\d\d:?\d\d)?)?"), "<time>"),
    (re.compile(r"\b\d{1,2}:\d\d:\d\d(?:[.,]\d+)?\b"), "<time>"),
    (re.compile(r"(?<![\w/\\>#])(?:~|\.\.?|[a-z]:)?(?:[/\\]+[^\s'\"`,;:()\[\]{}<>/\\]+)+[/\\]*"), "<path>"),
    (re.compile(r"(?<![\w/\\>#-])[\w.@-]+(?:/[\w.@-]+)+\.[a-z]\w{0,7}\b"), "<path>"),
    (re.compile(r"(?<![\w:])(?:[0-9a-f]{0,4}:){3,7}[0-9a-f]{0,4}(?![\w:])"), "<address>"),
    (re.compile(r"\b0x[0-9a-f]+\b"), "#"),
    (re.compile(r"(?<![a-z0-9])(?=[a-f]*\d)[0-9a-f]{8,}(?![a-z0-9])"), "#"),
    (re.compile(r"(?<![a-z0-9])(?=[a-z]*\d)[a-z0-9]{16,}(?![a-z0-9])"), "#"),
    # An id may happen to be all digits: so ids, hex and numbers leave the same mark.
    (re.compile(r"(?:(?<![\w#>])[+-])?\d+(?:[.,:]\d+)*(?:e[+-]?\d+(?!\w))?"), "#"),
    (re.compile(r"\s+"), " "),
)


def module_of(job_type: str) -> str:
    """Return the module whose job it is: what stands before its type's first dot (`kpi` of `kpi.refresh`)."""
    return job_type.partition(".")[0]


def normalised(message: str) -> str:
    """Return `message` without what differs with each run; alike messages become the same one.

    Lower case; at most its first 1,024 characters count. Normalising twice changes nothing.
    """
    text = message[:MOST_CHARACTERS].casefold()
    for pattern, stands_for in _VARYING:
        text = pattern.sub(stands_for, text)
    return text.strip()


def fingerprint(*, tenant_id: str | None, module: str, kind: str, error_class: str, message: str) -> str:
    """Return 32 hex digits, alike for alike failures. `kind` is the job's type, or the sort of thing that went wrong.

    `tenant_id` None: the platform's own. `message` is normalised here.
    """
    parts = (tenant_id or NOBODY, module, kind, error_class, normalised(message))
    return hashlib.sha256("\x1f".join(parts).encode("utf-8", "replace")).hexdigest()[:32]


def of_failure(*, tenant_id: str, job_type: str, error: Mapping[str, Any] | None, reason_code: str | None) -> str:
    """Return the fingerprint of a job's failure, by what its row keeps: `error` and `reason_code`.

    A message that nobody vouched for was not kept: the error's own fingerprint stands for it, then its code, then the
    reason (a lost worker leaves no error of its own).
    """
    kept = error or {}
    said = kept.get("message") or kept.get("fingerprint") or kept.get("code") or reason_code or ""
    return fingerprint(
        tenant_id=tenant_id,
        module=module_of(job_type),
        kind=job_type,
        error_class=str(kept.get("class") or reason_code or ""),
        message=str(said),
    )


def dedup_key(failure: str) -> str:
    """Return the key under which one failure's alerts and its ticket's notifications are the same thread of news."""
    return f"job:{failure}"
