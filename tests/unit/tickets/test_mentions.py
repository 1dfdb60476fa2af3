"""Whom a comment speaks to."""

from __future__ import annotations

import pytest

from apps.tickets.mentions import mentioned


@pytest.mark.parametrize(
    ("text", "people", "teams"),
    [
        ("@ada please look", ("ada",), ()),
        ("please, @ada.lovelace, and @team:batch!", ("ada.lovelace",), ("batch",)),
        ("(@ada) @ada @bob.", ("ada", "bob"), ()),
        ("write to ada@example.org or x.@y", (), ()),
        ("@", (), ()),
        ("@@ada", (), ()),
        ("@a", ("a",), ()),
        ("@ada@example.org", (), ()),
        ("@team:night-shift", (), ("night-shift",)),
    ],
)
def test_who_is_spoken_to(text: str, people: tuple[str, ...], teams: tuple[str, ...]) -> None:
    assert mentioned(text) == (people, teams)


def test_a_comment_cannot_call_everybody() -> None:
    assert len(mentioned(" ".join(f"@p{n}" for n in range(1000))).people) == 20


def test_a_hostile_text_costs_what_its_length_costs() -> None:
    assert mentioned("@" + "a." * 100_000).teams == ()
