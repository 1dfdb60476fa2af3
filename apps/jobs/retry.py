"""How often an attempt is tried again, and after how long. Pure: no clock, no dice of its own.

The one who asks rolls the dice and passes the number in, so that a test can say exactly what follows.
"""

import math
import re
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from apps.core.rate import parse_rate

Backoff = Literal["exponential", "fixed", "none"]

MAX_ATTEMPTS = 100
# A remote side may ask for any pause. Past a day it is a mistake of theirs, and a job must end some time.
LONGEST_ASKED_PAUSE_S = 86_400.0
MOST_CODES = 32
_CODE = re.compile(r"[a-z0-9_]{1,64}")
_LARGEST_EXPONENT = 60  # 2**60 s is past every cap; a larger one would overflow a float


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """A type's policy for attempts that failed and may be tried again.

    `max_attempts` counts the first one too. The pause after failed attempt n is `initial_s` (fixed), or
    `initial_s` doubled n - 1 times (exponential), or nothing (none); at most `cap_s` (seconds), then
    moved up or down by at most the share `jitter` (0 to 1). An attempt that fails with one of the codes
    `non_retryable` is the last. Raises ValueError on a policy that makes no sense.
    """

    max_attempts: int = 3
    backoff: Backoff = "exponential"
    initial_s: float = 2.0
    cap_s: float = 300.0
    jitter: float = 0.1
    non_retryable: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a policy that could never be meant."""
        if not _whole(self.max_attempts) or not 1 <= self.max_attempts <= MAX_ATTEMPTS:
            raise ValueError(f"Retry.max_attempts must be a whole number from 1 to {MAX_ATTEMPTS}")
        if self.backoff not in get_args(Backoff):
            raise ValueError(f"Retry.backoff must be one of: {', '.join(get_args(Backoff))}")
        if not (math.isfinite(self.initial_s) and self.initial_s >= 0):
            raise ValueError("Retry.initial_s must be 0 or more seconds")
        if not (math.isfinite(self.cap_s) and self.cap_s >= self.initial_s):
            raise ValueError("Retry.cap_s must be at least initial_s")
        if not (math.isfinite(self.jitter) and 0 <= self.jitter <= 1):
            raise ValueError("Retry.jitter must be from 0 to 1")
        # Read back from JSON, or written by a stranger: not always what the annotation says.
        codes: object = self.non_retryable
        if not isinstance(codes, tuple | list) or len(codes) > MOST_CODES or not all(map(_is_code, codes)):
            raise ValueError(
                f"Retry.non_retryable must be at most {MOST_CODES} error codes: a-z, 0-9 and _, up to 64 characters"
            )
        object.__setattr__(self, "non_retryable", tuple(self.non_retryable))

    def grants_another_after(self, code: str | None) -> bool:
        """Say whether an attempt that failed with `code` may be followed by another, if any are left."""
        return code not in self.non_retryable

    def kept(self) -> dict[str, Any]:
        """Return the policy as JSON values, from which `Retry(**kept)` makes it again."""
        return {**asdict(self), "non_retryable": list(self.non_retryable)}

    def delay_s(self, *, attempt: int, random: float, retry_after_s: float | None = None) -> float:
        """Return the seconds to wait after failed `attempt` (1-based) before the next.

        `random` is a number from 0 up to 1. `retry_after_s`, asked for by the handler, is a floor: never
        earlier than asked, and jitter only adds to it, so that those sent away together do not come back
        together. A day is the longest pause anybody can ask for.
        """
        if self.backoff == "none":
            planned = 0.0
        elif self.backoff == "fixed":
            planned = self.initial_s
        else:
            planned = self.initial_s * 2.0 ** min(max(attempt, 1) - 1, _LARGEST_EXPONENT)
        planned = min(min(planned, self.cap_s) * (1 + self.jitter * (2 * random - 1)), self.cap_s)
        if retry_after_s is None or not retry_after_s > 0:
            return planned
        asked = min(retry_after_s, LONGEST_ASKED_PAUSE_S) * (1 + self.jitter * random)
        return max(planned, asked)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many jobs of a type may run at once: in all, and for one tenant. None: no limit of the type's own.

    `rate`: how many may be handed out in a time, as '5/s', '100/m' or '1000/h', and '100/m burst 20' where as many may
    come at once; without it the burst is one second's worth, but at least one.
    """

    running: int | None = None
    running_per_tenant: int | None = None
    rate: str | None = None

    def __post_init__(self) -> None:
        """Refuse a limit under which nothing could ever run."""
        for name in ("running", "running_per_tenant"):
            limit = getattr(self, name)
            if limit is not None and (not _whole(limit) or limit < 1):
                raise ValueError(f"Limits.{name} must be None or a whole number from 1")
        if self.rate is not None:
            parse_rate(self.rate, field="Limits.rate")


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_code(value: object) -> bool:
    return isinstance(value, str) and _CODE.fullmatch(value) is not None
