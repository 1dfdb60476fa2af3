"""The life of a contract version: draft, active, retired. Pure: values in, values out.

A draft's text may change; an active or retired version's may not, for jobs have run under it. Retiring is undone by
activating again: the text is the same, so nobody is told another thing under the same name.
"""

from __future__ import annotations

DRAFT, ACTIVE, RETIRED = "draft", "active", "retired"

NEXT: dict[str, frozenset[str]] = {
    DRAFT: frozenset({ACTIVE}),
    ACTIVE: frozenset({RETIRED}),
    RETIRED: frozenset({ACTIVE}),
}


class IllegalContractMoveError(Exception):
    """A state that a contract cannot enter from where it is."""


def sources(target: str) -> frozenset[str]:
    """Return the states that `target` may be entered from."""
    return frozenset(state for state, following in NEXT.items() if target in following)


def choices(state: str) -> list[str]:
    """Return where a contract in `state` may stay or go, in the order of its life."""
    return [each for each in (DRAFT, ACTIVE, RETIRED) if each == state or each in NEXT[state]]


def illegal(*, name: str, state: str, target: str) -> IllegalContractMoveError:
    """Return the error that says where contract `name` may go instead."""
    allowed = " or ".join(sorted(NEXT[state]))
    return IllegalContractMoveError(f"contract {name} is {state}: it cannot become {target}, only {allowed}")
