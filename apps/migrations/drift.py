"""Which targets are what the migration was written for, and which are set aside, each with its reason. Pure.

A target must say that it is at the version the migration starts from, and its schema must be the one that more than
half of such targets have: what one tenant's database got by hand was rehearsed by nobody. Where no schema is had by
more than half there is nothing to measure by: then nobody is set aside for it, and the plan says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

MOST_NAMED: Final = 100


class Reason(StrEnum):
    """Why a target is left alone."""

    UNREACHABLE = "unreachable"  # its database did not answer, or no secret says where it is
    SCHEMA_ABSENT = "schema_absent"  # the database answers and has no such schema
    VERSION_ABSENT = "version_absent"  # it says no version, and nobody asked to take such targets for `from`
    VERSION_DIFFERS = "version_differs"  # it is neither at `from` nor at `to`
    ALREADY_THERE = "already_there"  # it is at `to`
    SCHEMA_DIFFERS = "schema_differs"  # it is at `from` and looks otherwise than most


# What would be right, where the word alone does not say it.
_WHY: Final[dict[Reason, str]] = {
    Reason.VERSION_ABSENT: "it says no version: write it where the definition reads it, or ask with `baseline`",
    Reason.SCHEMA_ABSENT: "its database has no schema of the name that the definition gives it",
    Reason.SCHEMA_DIFFERS: "its schema is not the one that most have: make it so, or ask for it by itself",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What reading a target found. `digest`, `objects`: None where it has no schema to read (a module, by its word).

    `objects`: name ("column customers.nick") → short digest. `problem`: unreachable, schema_absent or version_absent;
    `why`: a sentence about it, where there is one.
    """

    key: str
    tenant_id: str
    version: str | None = None
    digest: str | None = None
    objects: Mapping[str, str] | None = field(default=None, repr=False)
    size_bytes: int | None = None
    problem: str | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """A target that the campaign leaves alone. `differs`: the objects that are missing, more, or not as most have."""

    key: str
    tenant_id: str
    reason: Reason
    version: str | None = None
    digest: str | None = None
    differs: Sequence[str] = ()
    why: str | None = None


class Judgement(NamedTuple):
    """Who may be migrated, who not, and the schema that was measured by (None: there is none, or no majority)."""

    fit: list[Found]
    set_aside: list[SetAside]
    digest: str | None
    warnings: list[str]


def judge(found: Iterable[Found], *, version_from: str, version_to: str, baseline: bool = False) -> Judgement:
    """Return who is fit to be migrated. `baseline`: who says no version is taken for being at `version_from`."""
    fit: list[Found] = []
    aside: list[SetAside] = []
    for each in found:
        reason = _unfit(each, version_from=version_from, version_to=version_to, baseline=baseline)
        if reason is None:
            fit.append(each)
        else:
            aside.append(_aside(each, reason))
    reference, warnings = _reference(fit)
    if reference is None:
        return Judgement(fit, aside, None, warnings)
    objects = next((each.objects for each in fit if each.digest == reference and each.objects is not None), None)
    # Who has no schema to read is not measured: what it says of its version has to do.
    same = [each for each in fit if each.digest in {reference, None}]
    aside += [
        _aside(each, Reason.SCHEMA_DIFFERS, differs=differing(objects, each.objects))
        for each in fit
        if each.digest not in {reference, None}
    ]
    return Judgement(same, aside, reference, warnings)


def _unfit(found: Found, *, version_from: str, version_to: str, baseline: bool) -> Reason | None:
    if found.problem == Reason.SCHEMA_ABSENT:
        return Reason.SCHEMA_ABSENT
    # A word that is not known here must not let a target through.
    if found.problem not in {None, Reason.VERSION_ABSENT}:
        return Reason.UNREACHABLE
    if found.version is None:
        return None if baseline else Reason.VERSION_ABSENT
    if found.version == version_to:
        return Reason.ALREADY_THERE
    return None if found.version == version_from else Reason.VERSION_DIFFERS


def _reference(fit: Sequence[Found]) -> tuple[str | None, list[str]]:
    """Return the digest that more than half of the targets with a schema have, and what is to be warned of."""
    digests = Counter(each.digest for each in fit if each.digest is not None)
    if not digests:
        return None, []
    digest, count = min(digests.items(), key=lambda item: (-item[1], item[0]))
    if 2 * count > digests.total():
        return digest, []
    return None, [
        f"no schema is had by more than half of the {digests.total()} targets at that version"
        f" ({len(digests)} different ones, the most frequent had by {count}): none was set aside for its schema"
    ]


def _aside(found: Found, reason: Reason, *, differs: Sequence[str] = ()) -> SetAside:
    return SetAside(
        key=found.key,
        tenant_id=found.tenant_id,
        reason=reason,
        version=found.version,
        digest=found.digest,
        differs=differs,
        why=found.why or _WHY.get(reason),
    )


def differing(reference: Mapping[str, str] | None, objects: Mapping[str, str] | None) -> list[str]:
    """Return the names of objects that only one of two schemas has or that differ; by name, 100 and a count at most."""
    names = sorted(
        name
        for name in {*(reference or {}), *(objects or {})}
        if (reference or {}).get(name) != (objects or {}).get(name)
    )
    more = len(names) - MOST_NAMED
    return names if more <= 0 else [*names[:MOST_NAMED], f"and {more} more"]


def likeness(fit: Sequence[Found]) -> dict[str, float]:
    """Return key → how much of a target's schema is as the most frequent one has it, from 0 to 1."""
    digests = Counter(each.digest for each in fit if each.objects is not None)
    if not digests:
        return {each.key: 1.0 for each in fit}
    usual, _ = min(digests.items(), key=lambda item: (-item[1], item[0] or ""))
    reference = next(each.objects for each in fit if each.digest == usual and each.objects is not None)
    return {each.key: _alike(reference, each.objects) for each in fit}


def _alike(reference: Mapping[str, str], objects: Mapping[str, str] | None) -> float:
    if objects is None:
        return 0.0
    names = {*reference, *objects}
    return sum(reference.get(name) == objects.get(name) for name in names) / len(names) if names else 1.0
