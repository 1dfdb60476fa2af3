"""Set-up on a bare Python: what it refuses and in which words, and what of pip's configuration it tells uv.

The whole way (a fresh clone, an empty environment, `make`) is what CI itself walks before it runs these.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from opsplatform.set_up import pip_settings, virtual_environment

CHECKOUT = Path(__file__).parents[2]
BARE = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}


def bare(code: str, *, python_options: str = "-S") -> "subprocess.CompletedProcess[str]":
    """Run code as set-up is run: no site-packages."""
    return subprocess.run(
        [sys.executable, python_options, "-c", code],
        cwd=CHECKOUT,
        env=BARE,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def make(*arguments: str, folder: Path = CHECKOUT, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["make", "-f", str(CHECKOUT / "Makefile"), *arguments],
        cwd=folder,
        env={**BARE, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_it_needs_nothing_but_the_standard_library() -> None:
    done = bare("import sys, opsplatform.set_up.virtual_environment; print('django' in sys.modules)")
    assert (done.returncode, done.stdout.strip()) == (0, "False"), done.stderr


def test_a_missing_ensurepip_is_one_line_that_says_what_to_install(tmp_path: Path) -> None:
    code = f"""
import pathlib, sys
sys.modules["ensurepip"] = None
from opsplatform.set_up import virtual_environment as made
made.CHECKOUT = pathlib.Path({str(tmp_path)!r})
sys.exit(made.main())
"""
    (tmp_path / "requirements.txt").write_text("")
    done = bare(code)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"install python{sys.version_info.major}.{sys.version_info.minor}-venv" in done.stderr
    assert not (tmp_path / ".venv").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has more than one C library")
@pytest.mark.parametrize(("name", "version"), [("glibc", "2.17"), ("", "")])
def test_another_c_library_is_one_line(tmp_path: Path, name: str, version: str) -> None:
    code = f"""
import pathlib, platform, sys
platform.libc_ver = lambda: ({name!r}, {version!r})
from opsplatform.set_up import virtual_environment as made
made.CHECKOUT = pathlib.Path({str(tmp_path)!r})
sys.exit(made.main())
"""
    (tmp_path / "requirements.txt").write_text("")
    done = bare(code)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "glibc 2.28 or newer is needed" in done.stderr


def test_another_python_is_one_line() -> None:
    code = "import runpy, sys; sys.version_info = (3, 10, 13); runpy.run_module('opsplatform.set_up')"
    done = bare(code)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "3.10; 3.11, 3.12 or 3.13 is needed" in done.stderr


def test_no_python_at_all_is_one_line_from_make(tmp_path: Path) -> None:
    done = make("set-up", PYTHON=str(tmp_path / "no-such-python"))
    assert done.returncode == 2
    assert f"no Python 3.11, 3.12 or 3.13 found as {tmp_path / 'no-such-python'}" in done.stderr


def test_bare_make_tells_every_command() -> None:
    told = make().stdout
    for command in ("demo", "up", "down", "reset", "test", "check", "bench", "help"):
        assert f"make {command} " in told


class TestTheVirtualEnvironment:
    """What is decided by the stamp; the installing itself needs an index, and CI does it before it comes here."""

    @pytest.fixture
    def checkout(self, tmp_path: Path) -> Path:
        (tmp_path / "requirements.txt").write_text("# nothing\n")
        return tmp_path

    def test_where_the_stamp_fits_nothing_is_done(self, checkout: Path) -> None:
        venv = checkout / ".venv"
        (venv / "bin").mkdir(parents=True)
        (venv / "bin" / "python").symlink_to(sys.executable)
        virtual_environment.stamp(checkout=checkout)
        assert virtual_environment.state(checkout=checkout) is virtual_environment.State.FITS
        (checkout / "requirements.txt").write_text("# something\n")
        assert virtual_environment.state(checkout=checkout) is virtual_environment.State.OTHER_REQUIREMENTS
        (checkout / "moved").mkdir()
        venv.rename(checkout / "moved" / ".venv")
        (checkout / "requirements.txt").rename(checkout / "moved" / "requirements.txt")
        assert virtual_environment.state(checkout=checkout / "moved") is virtual_environment.State.UNUSABLE

    def test_a_folder_without_a_stamp_was_made_half_way(self, checkout: Path) -> None:
        (checkout / ".venv" / "bin").mkdir(parents=True)
        assert virtual_environment.state(checkout=checkout) is virtual_environment.State.UNUSABLE

    def test_a_folder_whose_python_is_gone_is_unusable(self, checkout: Path) -> None:
        (checkout / ".venv" / "bin").mkdir(parents=True)
        virtual_environment.stamp(checkout=checkout)
        (checkout / ".venv" / "bin" / "python").symlink_to("/nowhere/python3")
        assert virtual_environment.state(checkout=checkout) is virtual_environment.State.UNUSABLE


class TestPipSettings:
    def test_a_variable_beats_the_section_of_install_beats_global(self) -> None:
        listing = "global.index-url='https://a/simple'\ninstall.index-url='https://b/simple'\nfreeze.timeout='9'\n"
        assert pip_settings.in_force(listing=listing) == {"index-url": "https://b/simple"}
        listing = f":env:.index-url='https://c/simple'\n{listing}"
        assert pip_settings.in_force(listing=listing) == {"index-url": "https://c/simple"}

    def test_uv_is_told_the_same_index(self) -> None:
        told = pip_settings.for_uv(
            pip={"index-url": "https://a/simple", "trusted-host": "a\nb", "cert": "/ca.pem", "find-links": "/w /x"},
            variables={},
        )
        assert told == {
            "UV_DEFAULT_INDEX": "https://a/simple",
            "UV_INSECURE_HOST": "a b",
            "SSL_CERT_FILE": "/ca.pem",
            "UV_FIND_LINKS": "/w,/x",
        }

    def test_further_indexes_are_searched_as_pip_does(self) -> None:
        told = pip_settings.for_uv(pip={"extra-index-url": "https://x/simple\nhttps://y/simple"}, variables={})
        assert told == {"UV_INDEX": "https://x/simple https://y/simple", "UV_INDEX_STRATEGY": "unsafe-best-match"}

    def test_what_was_said_to_uv_itself_wins(self) -> None:
        pip = {"index-url": "https://a/simple", "cert": "/ca.pem"}
        variables = {"UV_INDEX_URL": "https://u/simple", "SSL_CERT_FILE": "/mine.pem"}
        assert pip_settings.for_uv(pip=pip, variables=variables) == {}
