"""OPS_HOME: the one folder that holds what a plane keeps on this machine, its marker, its lock and its secrets.

Nothing is ever erased that does not carry our marker, and the marker is written only into a folder that held nothing
foreign: so `make reset` with a mistyped OPS_HOME cannot erase somebody's home.
"""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from opsplatform import os_processes

MARKER = ".opsplatform"
CHECKOUT = Path(__file__).resolve().parents[2]
# What other parts of the plane may have put there before the first start of the services.
OURS = frozenset({MARKER, "run", "logs", "keys", "operator", "storage", "static", "lost+found"})


class EmbeddedError(RuntimeError):
    """The services cannot be had; the message is one line for a person, naming what to change."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What must outlive a restart so that addresses and data stay the same (`OPS_HOME/embedded.json`, 0600)."""

    postgres_port: int | None = None
    postgres_data: str | None = None  # relative to the home, or absolute where the home cannot be entered
    superuser_password: str
    database_password: str
    valkey_port: int | None = None
    valkey_password: str


def from_variables(variables: Mapping[str, str] = os.environ) -> Path:
    """Return OPS_HOME, absolute and without links; `.ops/` in the checkout when unset."""
    return Path(variables.get("OPS_HOME") or CHECKOUT / ".ops").expanduser().resolve()


def prepare(*, home: Path) -> None:
    """Make `home` ours: private, marked, with its folders; raise `EmbeddedError` if it is unwritable or foreign."""
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not (home / MARKER).exists():
            foreign = sorted(entry.name for entry in home.iterdir() if entry.name not in OURS)
            if foreign:
                raise EmbeddedError(f"OPS_HOME {home} holds files that are not ours ({foreign[0]}): name a new folder")
            (home / MARKER).write_text(f"{home}\n", encoding="utf-8")
        # As root the database's own group may pass through (0710): see `postgres.place`.
        if stat.S_IMODE(home.stat().st_mode) & 0o067:
            home.chmod(0o700)
        for name in ("run", "logs"):
            (home / name).mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise EmbeddedError(f"OPS_HOME {home} cannot be used: {error.strerror}") from error
    if not os.access(home / "run", os.W_OK | os.X_OK) or not os.access(home, os.W_OK | os.X_OK):
        raise EmbeddedError(f"OPS_HOME {home} is not writable by this user")


@contextlib.contextmanager
def locked(*, home: Path, name: str = "embedded", within_s: float = 120) -> Iterator[None]:
    """Hold the home's lock `name`: one process at a time starts or stops. The kernel frees it if the holder dies."""
    try:
        opened = (home / "run" / f"{name}.lock").open("a+")
    except OSError as error:
        raise EmbeddedError(f"OPS_HOME {home} cannot be used: {error.strerror}") from error
    with opened as lock:

        def taken() -> bool:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        if not os_processes.wait_until(taken, within_s=within_s):
            raise EmbeddedError(f"another process has been starting or stopping {home} for more than {within_s:.0f} s")
        yield


def kept(*, home: Path) -> Kept:
    """Return what was kept, inventing the passwords at the first call."""
    path = home / "embedded.json"
    if path.exists():
        return Kept(**json.loads(path.read_text(encoding="utf-8")))
    fresh = Kept(
        superuser_password=secrets.token_urlsafe(24),
        database_password=secrets.token_urlsafe(24),
        valkey_password=secrets.token_urlsafe(24),
    )
    write_json(path=path, document=asdict(fresh))
    return fresh


def keep(*, home: Path, **changes: Any) -> Kept:
    """Change some of what is kept; return the whole."""
    changed = replace(kept(home=home), **changes)
    write_json(path=home / "embedded.json", document=asdict(changed))
    return changed


def write_json(*, path: Path, document: Mapping[str, Any]) -> None:
    """Write a private file (0600) at one stroke: a reader sees the old or the new, never a half."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:  # noqa: PTH123
        json.dump(document, file, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def read_json(*, path: Path) -> dict[str, Any]:
    """Return the document at `path`; empty when there is none."""
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except PermissionError as error:
        raise EmbeddedError(f"{path} is not readable by this user") from error
    return document


def erase(*, home: Path) -> None:
    """Erase `home`; raise `EmbeddedError` if it does not carry our marker. The services must be stopped."""
    if not home.exists():
        return
    if not (home / MARKER).is_file():
        raise EmbeddedError(f"{home} does not carry our marker ({MARKER}): not erasing it")
    marker = home / MARKER
    for entry in home.iterdir():  # the marker goes last: an interrupted reset can be run again
        if entry == marker:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    marker.unlink()
    with contextlib.suppress(OSError):  # a mount point or a folder in a folder that is not ours stays, empty
        home.rmdir()
