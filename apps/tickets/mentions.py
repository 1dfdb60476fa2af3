"""Whom a comment speaks to: `@alice` is a person, `@team:operations` a team. Pure."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

MOST: Final = 20
_MENTION = re.compile(r"(?<![\w@.])@(team:)?([a-z0-9](?:[\w.+-]{0,126}[a-z0-9])?)(?![\w@])", re.IGNORECASE)


class Mentioned(NamedTuple):
    """People and teams, each once, in the order of the text."""

    people: tuple[str, ...]
    teams: tuple[str, ...]


def mentioned(text: str) -> Mentioned:
    """Return who is spoken to; of very many the first 20. An address (a@b.org) speaks to nobody."""
    found = list(dict.fromkeys((bool(team), name) for team, name in _MENTION.findall(text)))[:MOST]
    return Mentioned(
        people=tuple(name for team, name in found if not team), teams=tuple(name for team, name in found if team)
    )
