"""`.venv`: made with `venv`, filled by a pinned uv with exactly requirements.txt, wheels and hashes only.

Touches `.venv/` alone. A stamp written last says what it was made from: where the stamp fits, nothing is done; where
there is none, a start was killed half-way and the folder is made anew; where it differs, it is brought in step.
"""

from __future__ import annotations

import enum
import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from opsplatform.set_up import pip_settings

CHECKOUT = Path(__file__).resolve().parents[2]
OLDEST_GLIBC = (2, 28)  # the floor of the wheels: manylinux_2_28


class SetUpError(Exception):
    """Set-up cannot go on; the message is one line for a person."""


def main() -> int:
    """Make `.venv` fit; 0, or 2 with one clear line on stderr."""
    try:
        make(checkout=CHECKOUT)
    except SetUpError as error:
        sys.stderr.write(f"set-up: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


class State(enum.Enum):
    """How a checkout's `.venv` stands to what it should be."""

    FITS = "nothing to do"
    OTHER_REQUIREMENTS = "bring it in step"
    UNUSABLE = "make it anew: absent, made half-way, moved, or of another Python"


def make(*, checkout: Path) -> bool:
    """Make the checkout's `.venv` fit its requirements.txt; return whether anything had to be done."""
    if state(checkout=checkout) is State.FITS:
        return False
    check_machine()
    with _alone(checkout):
        found = state(checkout=checkout)  # again: another make may have done it while we waited
        if found is State.FITS:
            return False
        _stamp_file(checkout).unlink(missing_ok=True)
        if found is State.UNUSABLE:
            _say(f"making .venv with Python {platform.python_version()}")
            _create(checkout / ".venv")
        _say("installing what requirements.txt names")
        _fill(checkout, checkout / ".venv")
        stamp(checkout=checkout)
    return True


def state(*, checkout: Path) -> State:
    """Return how the checkout's `.venv` stands."""
    wanted = _wanted(checkout)
    try:
        made = json.loads(_stamp_file(checkout).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return State.UNUSABLE
    works = os.access(checkout / ".venv" / "bin" / "python", os.X_OK)
    if not works or any(made.get(name) != wanted[name] for name in ("python", "base", "checkout")):
        return State.UNUSABLE
    return State.FITS if made == wanted else State.OTHER_REQUIREMENTS


def stamp(*, checkout: Path) -> None:
    """Write down that `.venv` is whole, and what it was made from."""
    fresh = _stamp_file(checkout).with_suffix(".new")
    fresh.write_text(json.dumps(_wanted(checkout), indent=1) + "\n", encoding="utf-8")
    fresh.replace(_stamp_file(checkout))


def _stamp_file(checkout: Path) -> Path:
    return checkout / ".venv" / "set-up.json"


def check_machine() -> None:
    """Raise `SetUpError` unless the wheels can run here: glibc 2.28 or newer (or macOS), and `venv` with ensurepip."""
    if sys.platform not in {"linux", "darwin"}:
        raise SetUpError(f"this runs on Linux and macOS, not on {sys.platform}")
    if sys.platform == "linux":
        name, version = platform.libc_ver()
        numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
        if name != "glibc" or numbers < OLDEST_GLIBC:
            raise SetUpError(f"glibc 2.28 or newer is needed, this machine has {name or 'another C library'} {version}")
    try:
        import ensurepip  # noqa: F401, PLC0415 - Debian's Python comes without it
        import venv  # noqa: F401, PLC0415
    except ImportError as error:
        major, minor = sys.version_info[:2]
        raise SetUpError(f"Python has no {error.name}: install python{major}.{minor}-venv (Debian, Ubuntu)") from error


def _wanted(checkout: Path) -> dict[str, str]:
    """Return what the stamp must say: all that `.venv` depends on."""
    here = Path(__file__).parent
    return {
        "requirements": _digest(checkout / "requirements.txt"),
        "installer": _digest(here / "uv.txt"),
        "python": platform.python_version(),
        "base": sys.base_prefix,
        "checkout": str(checkout),  # its scripts hold absolute paths
    }


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise SetUpError(f"{path} cannot be read: {error.strerror}") from error


@contextmanager
def _alone(checkout: Path) -> Iterator[None]:
    """Let one make at a time work on `.venv`; the kernel frees the lock of a killed one."""
    with (checkout / "requirements.txt").open("rb") as lock:  # outlives `.venv`, and needs no file of its own
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("waiting for another make that is setting up")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _create(folder: Path) -> None:
    try:
        if folder.is_symlink():
            folder.unlink()
        elif folder.exists():
            shutil.rmtree(folder)
    except OSError as error:
        raise SetUpError(f"{folder} cannot be replaced: {error.strerror}") from error
    _run([sys.executable, "-m", "venv", str(folder)], "the virtual environment could not be made")


def _fill(checkout: Path, folder: Path) -> None:
    python = str(folder / "bin" / "python")
    wheels = ["--require-hashes", "--only-binary", ":all:"]
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    _run(
        [*pip, "install", "--quiet", *wheels, "-r", str(Path(__file__).with_name("uv.txt"))],
        "pip could not install uv; is the package index reachable?",
    )
    listing = subprocess.run([*pip, "config", "list"], capture_output=True, text=True, check=False).stdout
    told = pip_settings.for_uv(pip=pip_settings.in_force(listing=listing), variables=os.environ)
    uv = [str(folder / "bin" / "uv"), "pip", "sync", "--quiet", "--python", python]
    _run(
        [*uv, *wheels, str(checkout / "requirements.txt")],
        "uv could not install requirements.txt; is the package index reachable?",
        {**os.environ, **told, **_cache(), "UV_PYTHON_DOWNLOADS": "never"},
    )


def _cache() -> dict[str, str]:
    """Tell uv to do without a cache where its folder cannot be made (a service account's home): it would give up."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "uv"
    while not folder.exists():
        folder = folder.parent
    return {} if "UV_CACHE_DIR" in os.environ or os.access(folder, os.W_OK) else {"UV_NO_CACHE": "1"}


def _run(command: list[str], failed: str, variables: dict[str, str] | None = None) -> None:
    """Run a step, its words shown; raise `SetUpError` with `failed` if it fails."""
    began = time.monotonic()
    try:
        done = subprocess.run(command, env=variables, check=False)
    except OSError as error:
        raise SetUpError(f"{failed} ({error})") from error
    if done.returncode:
        raise SetUpError(f"{failed} (code {done.returncode} after {time.monotonic() - began:.0f} s)")


def _say(what: str) -> None:
    sys.stderr.write(f"set-up: {what}\n")
