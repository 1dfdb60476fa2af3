"""The demo's own parts: what it computes by hand, how it speaks, and that it keeps to its own place."""

import io
import os
from decimal import Decimal
from pathlib import Path

import pytest

from opsplatform.demo import data, place
from opsplatform.demo.telling import NotTrueError, Telling


def test_seattles_rain_by_hand() -> None:
    assert data.rain()[2012] == data.Rain(177, Decimal("1226.0"))
    assert list(data.rain()) == [2012, 2013, 2014, 2015]


def test_months_have_their_hours_though_the_files_write_time_differently() -> None:
    assert sum(month.hours for month in data.warmer_hours().values()) == 8759
    assert data.warmer_hours()[7] == data.Hours(744, 639)


def test_the_nearest_airport_is_never_the_airport_itself() -> None:
    assert data.nearest(["JFK"]) == {"JFK": ("LGA", 17.2)}


def test_what_is_true_is_counted_and_said() -> None:
    out = io.StringIO()
    tell = Telling(out=out)
    tell.check(True, "it holds")
    assert tell.checked == 1
    assert "it holds" in out.getvalue()
    assert "\x1b" not in out.getvalue()


def test_what_is_not_true_ends_the_story_with_what_was_seen() -> None:
    with pytest.raises(NotTrueError, match="one success: seen was 2"):
        Telling(out=io.StringIO()).check(False, "one success", seen=2)


def test_waiting_ends_at_its_deadline() -> None:
    with pytest.raises(NotTrueError, match=r"the lease runs out: not within 0 s"):
        Telling(out=io.StringIO()).wait(lambda: False, for_what="the lease runs out", within_s=0)


def test_a_table_keeps_its_columns() -> None:
    out = io.StringIO()
    Telling(out=out).table(("file", "rows"), [("a.csv", 1), ("longer.csv", 1461)], left=frozenset({0}))
    assert [line.strip() for line in out.getvalue().splitlines()] == [
        "file         rows",
        "a.csv           1",
        "longer.csv   1461",
    ]


def test_settings_that_lead_elsewhere_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    surroundings = {
        "DATABASE_URL": "postgresql://elsewhere/ops",
        "OPS_PORT": "8000",
        "OPS_HOME": "/kept",
        "PATH": "/bin",
    }
    monkeypatch.setattr(os, "environ", surroundings)
    place.forget_surroundings()
    assert surroundings == {"OPS_HOME": "/kept", "PATH": "/bin"}


def test_one_demo_at_a_time_in_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "home-demo"
    with place.reserved(folder=folder) as home:
        assert home == folder / "plane"
        with pytest.raises(place.PlaceError, match="a demo already runs in"), place.reserved(folder=folder):
            pass
    place.leave(folder=folder)
    assert not folder.exists()


def test_a_folder_that_is_not_the_demos_is_not_erased(tmp_path: Path) -> None:
    (tmp_path / "plane").mkdir()
    (tmp_path / "plane" / "letter.txt").write_text("mine")
    with pytest.raises(Exception, match="does not carry our marker"), place.reserved(folder=tmp_path):
        pass
    assert (tmp_path / "plane" / "letter.txt").read_text() == "mine"


def test_two_ports_that_differ() -> None:
    port, flower_port = place.free_ports()
    assert port != flower_port
