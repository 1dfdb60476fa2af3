"""Clock and ids: time is the database's, ids sort by birth and have one spelling."""

import uuid
from datetime import UTC, datetime, timedelta, timezone

import pytest

from apps.core import clock, ids


class Monotonic:
    """A monotonic clock moved by hand."""

    value = 100.0

    def __call__(self) -> float:
        return self.value


def test_the_clock_runs_on_from_the_databases_instant() -> None:
    monotonic = Monotonic()
    instant = datetime(2031, 5, 1, 14, 0, tzinfo=timezone(timedelta(hours=2)))
    database = clock.DatabaseClock(instant=instant, monotonic=monotonic)
    monotonic.value += 61.5
    assert database.now() == datetime(2031, 5, 1, 12, 1, 1, 500_000, tzinfo=UTC)
    assert database.now().tzinfo is UTC
    assert database.age_s() == 61.5


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        clock.DatabaseClock(instant=datetime(2031, 5, 1))  # noqa: DTZ001 - the fault under test


def test_ids_sort_by_birth_and_are_plain_uuids() -> None:
    born = [ids.uuid7() for _ in range(1000)]
    assert born == sorted(born)
    assert len(set(born)) == 1000
    assert {(type(one), one.version, one.variant) for one in born} == {(uuid.UUID, 7, uuid.RFC_4122)}


def test_an_id_has_one_spelling() -> None:
    one = ids.uuid7()
    assert ids.parse_id(str(one)) == one
    assert ids.parse_id(str(one).upper()) == one
    for other in (f"{{{one}}}", one.urn, one.hex, f" {one}", f"{one}\n", "", "1", str(one)[:-1], "٠" * 36):
        with pytest.raises(ids.BadIdError):
            ids.parse_id(other)
