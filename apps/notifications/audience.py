"""Who is to know, in words: `operators`, `tenant`, `module:data-acquisition`, `role:approver`, `person:ada`. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

OPERATORS: Final = "operators"  # who runs the platform
TENANT: Final = "tenant"  # the people of the tenant whose it is
MOST: Final = 8
WORD: Final = re.compile(r"operators|tenant|(module|role|person):[A-Za-z0-9][A-Za-z0-9@._+-]{0,99}")


class BadAudienceError(ValueError):
    """A word names nobody that could be told."""


def usual(*, tenant_id: str | None) -> tuple[str, ...]:
    """Return who is told where nobody says who: the operators, and the tenant's people where it is a tenant's."""
    return (OPERATORS,) if tenant_id is None else (OPERATORS, TENANT)


def checked(words: Sequence[str], *, tenant_id: str | None) -> tuple[str, ...]:
    """Return the words, each once and in order; raises `BadAudienceError`."""
    for word in words:
        if not WORD.fullmatch(word):
            raise BadAudienceError(f"{word!r}: operators, tenant, module:…, role:… or person:… would be right")
    if TENANT in words and tenant_id is None:
        raise BadAudienceError("tenant: what is no tenant's has no people of a tenant")
    if not 0 < len(set(words)) <= MOST:
        raise BadAudienceError(f"1 to {MOST} words would be right")
    return tuple(dict.fromkeys(words))


def target(words: Sequence[str], *, tenant_id: str | None) -> str:
    """Return the audience as one text, the tenant named: `operators, tenant:acme`."""
    return ", ".join(f"{word}:{tenant_id}" if word == TENANT else word for word in words)
