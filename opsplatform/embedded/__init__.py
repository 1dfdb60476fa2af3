"""PostgreSQL and Valkey out of wheels: start, find and stop the two servers of an OPS_HOME. Imports no Django.

The servers are daemons of the home, not children of whoever started them: a second start finds the first's, a killed
parent leaves them findable, `stop` leaves nothing. What runs is written to `OPS_HOME/run/services.json`:

    {"postgres": {"pid", "mark", "port", "data", "started_at"} | null, "valkey": {…} | null,
     "database_url", "superuser_url", "broker_url"}

`null` means stopped on purpose; the addresses stay, since the server comes back at the same one. With DATABASE_URL or
BROKER_URL set, that server is not ours: it is asked once whether it answers, and has no entry.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from opsplatform import os_processes
from opsplatform.embedded import account, external, postgres, valkey
from opsplatform.embedded import home as homes
from opsplatform.embedded.home import EmbeddedError
from opsplatform.embedded.postgres import Mode
from opsplatform.embedded.server import Server, random_port

__all__ = [
    "EmbeddedError",
    "Mode",
    "Server",
    "Services",
    "erase",
    "find",
    "restart_postgres",
    "revive",
    "start",
    "start_postgres",
    "start_valkey",
    "stop",
    "stop_postgres",
    "stop_valkey",
]


@dataclass(frozen=True, kw_only=True)
class Services:
    """The embedded servers that run now, and where each is reached; None where there is no such server."""

    postgres: Server | None = None
    valkey: Server | None = None
    database_url: str | None = None
    superuser_url: str | None = None
    broker_url: str | None = None


def start(*, home: Path, variables: Mapping[str, str] = os.environ) -> Services:
    """Start what does not run and is not given by DATABASE_URL or BROKER_URL; return what runs.

    Raises `EmbeddedError`, one line for a person; then nothing that this call started is left running.
    """
    homes.prepare(home=home)
    before = find(home=home) or Services()
    try:
        if variables.get("DATABASE_URL"):
            external.check_database(url=variables["DATABASE_URL"])
        else:
            start_postgres(home=home)
        if variables.get("BROKER_URL"):
            external.check_broker(url=variables["BROKER_URL"])
        else:
            start_valkey(home=home)
    except EmbeddedError:
        if before.postgres is None:
            stop_postgres(home=home)
        if before.valkey is None:
            stop_valkey(home=home)
        raise
    return find(home=home) or Services()


def find(*, home: Path) -> Services | None:
    """Return the servers of `home` that run now; None when none does. A stale entry is no server."""
    written = _read(home)
    alive = Services(
        postgres=written.postgres if written.postgres and written.postgres.lives() else None,
        valkey=written.valkey if written.valkey and written.valkey.lives() else None,
        database_url=written.database_url,
        superuser_url=written.superuser_url,
        broker_url=written.broker_url,
    )
    return alive if alive.postgres or alive.valkey else None


def stop(*, home: Path) -> None:
    """Stop both servers, whoever started them; no error when none runs. Their data stays."""
    if not (home / homes.MARKER).exists():
        return
    stop_valkey(home=home)
    stop_postgres(home=home)
    (home / "run" / "services.json").unlink(missing_ok=True)


def revive(*, home: Path) -> list[str]:
    """Start again the servers that died unasked; return their names. One that was stopped on purpose stays stopped."""
    written = _read(home)
    died = [
        (name, begin)
        for name, server, begin in (
            ("postgres", written.postgres, _start_postgres),
            ("valkey", written.valkey, _start_valkey),
        )
        if server is not None and not server.lives()
    ]
    revived = []
    if died:
        with homes.locked(home=home):
            still = _read(home)  # whoever held the lock may have stopped it on purpose, or started it again
            for name, begin in died:
                server = still.postgres if name == "postgres" else still.valkey
                if server is not None and not server.lives():
                    begin(home)
                    revived.append(name)
    return revived


def start_postgres(*, home: Path) -> Server:
    """Start PostgreSQL unless it runs, at its kept port while that is free; its role and database stand afterwards."""
    homes.prepare(home=home)
    with homes.locked(home=home):
        return _start_postgres(home)


def stop_postgres(*, home: Path, mode: Mode = "fast") -> None:
    """Stop PostgreSQL if it runs: "fast" ends sessions and writes a checkpoint, "immediate" is like losing power."""
    with homes.locked(home=home):
        _stop_postgres(home, mode)


def restart_postgres(*, home: Path, mode: Mode = "fast") -> Server:
    """Stop and start PostgreSQL at the same address; return the new server."""
    with homes.locked(home=home):
        _stop_postgres(home, mode)
        return _start_postgres(home)


def start_valkey(*, home: Path) -> Server:
    """Start Valkey unless it runs, at its kept port while that is free."""
    homes.prepare(home=home)
    with homes.locked(home=home):
        return _start_valkey(home)


def stop_valkey(*, home: Path) -> None:
    """Stop Valkey if it runs; its data is on disk when this returns."""
    with homes.locked(home=home):
        server = valkey.running(data=home / "valkey", port=homes.kept(home=home).valkey_port or 0)
        if server is not None:
            valkey.stop(server=server)
        _write(home, valkey=None)


def erase(*, home: Path) -> None:
    """Stop the servers and erase `home` with all data, ours beside it too; refuse a folder without our marker."""
    stop(home=home)
    homes.erase(home=home)
    account.erase_beside(home=home)


def _start_postgres(home: Path) -> Server:
    who = account.current()
    kept = homes.kept(home=home)
    place = account.place(home=home, account=who, kept=kept.postgres_data)
    kept = homes.keep(home=home, postgres_data=place)
    data = home / place
    server = postgres.running(data=data)
    if server is None:
        programs = account.binaries(account=who)
        postgres.create(data=data, programs=programs, account=who, password=kept.superuser_password)
        begin = partial(postgres.start, data=data, programs=programs, account=who, log=home / "logs" / "postgres.log")
        server = _on_a_port(kept.postgres_port, begin)
        homes.keep(home=home, postgres_port=server.port)
    postgres.provision(
        server=server, superuser_password=kept.superuser_password, database_password=kept.database_password
    )
    at = f"127.0.0.1:{server.port}"
    _write(
        home,
        postgres=asdict(server),
        database_url=f"postgresql://ops:{kept.database_password}@{at}/ops",
        superuser_url=f"postgresql://postgres:{kept.superuser_password}@{at}/postgres",
    )
    return server


def _stop_postgres(home: Path, mode: Mode) -> None:
    place = homes.kept(home=home).postgres_data
    server = postgres.running(data=home / place) if place else None
    if server is not None:
        postgres.stop(server=server, mode=mode)
    _write(home, postgres=None)


def _start_valkey(home: Path) -> Server:
    kept = homes.kept(home=home)
    data = home / "valkey"
    server = valkey.running(data=data, port=kept.valkey_port or 0)
    if server is None:
        begin = partial(valkey.start, data=data, password=kept.valkey_password, log=home / "logs" / "valkey.log")
        server = _on_a_port(kept.valkey_port, begin)
        homes.keep(home=home, valkey_port=server.port)
    _write(
        home,
        valkey=asdict(server),
        broker_url=f"redis://:{kept.valkey_password}@127.0.0.1:{server.port}/0",
    )
    return server


class _Begin(Protocol):
    def __call__(self, *, port: int) -> Server: ...


def _on_a_port(wanted: int | None, begin: _Begin) -> Server:
    """Begin on the wanted port while it is free, else on another; again if somebody takes it in between."""
    for _ in range(5):
        port = wanted or random_port()
        if os_processes.wait_until(partial(_is_free, port), within_s=2 if wanted else 0):
            try:
                return begin(port=port)
            except EmbeddedError:
                if _is_free(port):  # it was not the port
                    raise
        wanted = None
    raise EmbeddedError("no free port found on 127.0.0.1 between 15000 and 30000")


def _is_free(port: int) -> bool:
    return os_processes.why_not_listen(host="127.0.0.1", port=port) is None


def _read(home: Path) -> Services:
    document = homes.read_json(path=home / "run" / "services.json")
    for name in ("postgres", "valkey"):
        if document.get(name):
            document[name] = Server(**document[name])
    return Services(**document)


def _write(home: Path, **changes: object) -> None:
    path = home / "run" / "services.json"
    homes.write_json(path=path, document={**homes.read_json(path=path), **changes})
