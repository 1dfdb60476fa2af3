"""Matchers as Alertmanager spells them: `severity=critical`, `source!=health`, `component=~db-.*`. Pure.

A regular expression is matched in linear time and against the whole value, as there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from apps.jobs.pattern import BadPatternError, compiled

LABELS: Final = (
    "severity", "category", "classification", "source", "component", "group", "class", "tenant", "audience",
    "dedup_key", "by", "region",
)  # fmt: skip
MOST: Final = 16
_FORM: Final = re.compile(r"([a-z_]+)(=~|!~|!=|=)(.*)", re.DOTALL)

# Every label may have several values (an audience has): a matcher asks whether one of them is as it says.
Facts = Mapping[str, Sequence[str]]


class BadMatcherError(ValueError):
    """A text is no matcher; the message says what would be right."""


class Matcher(NamedTuple):
    """One condition."""

    label: str
    operator: str
    value: str

    def __str__(self) -> str:
        return f"{self.label}{self.operator}{self.value}"

    def holds(self, facts: Facts) -> bool:
        """Say whether the facts are so. A label that a notification does not have reads as empty."""
        values = facts.get(self.label) or ("",)
        if self.operator in {"=", "!="}:
            found = self.value in values
        else:
            pattern = compiled(f"^(?:{self.value})$")
            found = any(pattern.found_in(value) for value in values)
        return found is (self.operator in {"=", "=~"})


def parsed(texts: Iterable[str]) -> tuple[Matcher, ...]:
    """Return the matchers that texts spell; raises `BadMatcherError`."""
    found = tuple(_parsed(text) for text in texts)
    if len(found) > MOST:
        raise BadMatcherError(f"at most {MOST} matchers would be right")
    return found


def unmet(matchers: Iterable[Matcher], facts: Facts) -> Matcher | None:
    """Return the first matcher that does not hold; None where all do."""
    return next((each for each in matchers if not each.holds(facts)), None)


def _parsed(text: str) -> Matcher:
    match = _FORM.fullmatch(text.strip())
    if match is None or match[1] not in LABELS:
        raise BadMatcherError(f"{text!r}: one of {', '.join(LABELS)}, then = != =~ or !~, then a value would be right")
    found = Matcher(match[1], match[2], match[3].strip().strip('"'))
    if "~" in found.operator:
        try:
            compiled(f"^(?:{found.value})$")
        except BadPatternError as error:
            raise BadMatcherError(f"{text!r}: {error}") from error
    return found
