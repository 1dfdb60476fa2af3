"""`python -m opsplatform.forkserver FD run_relay worker ...`: load what these commands need, then fork as FD asks.

FD is a socket to the supervisor, whose child we are. Its end (`opsplatform/supervisor/forkserver.py`) says what is to
be forked, a message of JSON each; when it is closed, we end.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import socket
import sys
from dataclasses import replace
from io import FileIO
from pathlib import Path
from typing import Any

from opsplatform import os_processes

LONGEST_MESSAGE = 2**20
# What each of Celery's commands imports only as it runs.
CELERY = {
    "worker": ("celery.bin.celery", "celery.apps.worker", "celery.worker.consumer", "celery.concurrency.prefork"),
    "beat": ("celery.bin.celery", "celery.apps.beat", "django_celery_beat.schedulers"),
    "flower": ("celery.bin.celery", "flower.app"),
}


def main() -> None:
    """Serve; in a fork, be what was asked for."""
    supervisor, told = os.getppid(), set(os.environ)
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        load(commands=sys.argv[2:])
        own = {name: value for name, value in os.environ.items() if name not in told}
        asked = serve(channel, supervisor=supervisor)
    if asked is not None:
        become(asked, own=own)


def load(*, commands: list[str]) -> None:
    """Import all that `commands` need, without connecting to anything."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opsplatform.settings")
    os.environ.setdefault("OPS_DATABASE_ROLE", "control")
    os.environ.pop("SENTRY_DSN", None)  # reporting is each fork's own
    gc.disable()  # until forked: a collection would leave holes in pages that are to be shared
    import django  # noqa: PLC0415 - the environment must be set first

    django.setup()
    from django.core import management  # noqa: PLC0415
    from django.db import connection  # noqa: PLC0415

    known = management.get_commands()
    for command in commands:
        if command in known:
            management.load_command_class(str(known[command]), command)
        for module in CELERY.get(command, ()):
            importlib.import_module(module)
    connection.get_connection_params()  # loads the driver
    gc.collect()
    gc.freeze()


def serve(channel: socket.socket, *, supervisor: int) -> dict[str, Any] | None:
    """Fork for each request; return None at the supervisor's end, and in each fork the request that it is for."""
    _tell(channel, {"ready": True})
    while message := channel.recv(LONGEST_MESSAGE):
        threads = len(list(Path("/proc/self/task").iterdir()))
        if threads > 1:  # whatever the others hold would be held for ever in the fork
            _tell(channel, {"error": f"{threads} threads run"})
            continue
        try:
            if fork(channel, supervisor=supervisor):
                request: dict[str, Any] = json.loads(message)
                return request
        except OSError as error:
            _tell(channel, {"error": error.strerror})
    return None


def fork(channel: socket.socket, *, supervisor: int) -> bool:
    """Fork a process that is the supervisor's child, as if it had started it, and tell it the pid; True in the fork.

    The process between us and it ends at once, and the kernel gives the orphan to the nearest subreaper, which the
    supervisor is. Only then may it go on: one that follows its parent's death would follow that of the one between.
    """
    with contextlib.ExitStack() as pipes:
        born, bearing = _pipe(pipes)
        waiting, starting = _pipe(pipes)
        between = os.fork()
        if between == 0:
            _leave_an_orphan()
            channel.close()
            starting.close()
            os.setsid()
            bearing.write(str(os.getpid()).encode())
            bearing.close()
            if not waiting.read(1):
                os._exit(1)  # the server died, and the supervisor knows nothing of us
            os_processes.follow(parent=supervisor)
            return True
        bearing.close()
        waiting.close()
        pid = born.read()
        os.waitpid(between, 0)
        _tell(channel, {"pid": int(pid)} if pid else {"error": "the fork died at once"})
        with contextlib.suppress(BrokenPipeError):
            starting.write(b"!")
    return False


def _pipe(pipes: contextlib.ExitStack) -> tuple[FileIO, FileIO]:
    reading, writing = os.pipe()
    return pipes.enter_context(FileIO(reading, "r")), pipes.enter_context(FileIO(writing, "w"))


def _leave_an_orphan() -> None:
    """Fork once more and end; only the new process returns."""
    try:
        if os.fork() != 0:
            os._exit(0)
    except OSError:
        os._exit(1)


def become(asked: dict[str, Any], *, own: dict[str, str]) -> None:
    """Be the process that was asked for: its log, folder, arguments and environment; then run its command.

    `own` are the variables that loading set.
    """
    gc.enable()
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123
        os.dup2(nothing.fileno(), 0)
    with open(os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:  # noqa: PTH123
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.chdir(asked["folder"])
    os_processes.retitle(arguments=asked["arguments"])
    os.environ.clear()
    os.environ.update({**own, **asked["variables"]})
    if not _fits():  # servers that moved, say: the same process, started by its line
        os.execvpe(asked["arguments"][0], asked["arguments"], asked["variables"])  # noqa: S606 - no shell is wanted
    run(asked["arguments"])


def run(arguments: list[str]) -> None:
    """Run `celery ...` or `python manage.py ...` as it would run by itself."""
    if arguments[0] == "celery":
        from celery.__main__ import main  # noqa: PLC0415 - not before the environment is set

        sys.argv = arguments
    else:
        from manage import main  # noqa: PLC0415

        sys.argv = arguments[1:]
    main()


def _fits() -> bool:
    """Read the environment anew; return whether what was loaded fits it, but for what is each process's own."""
    from django.conf import settings  # noqa: PLC0415 - as above

    from opsplatform import logging  # noqa: PLC0415
    from opsplatform.settings import environment  # noqa: PLC0415

    own = environment.read()
    if replace(own, process=settings.ENVIRONMENT.process, sentry_dsn=None) != settings.ENVIRONMENT:
        return False
    settings.ENVIRONMENT = own
    logging.configure(process=own.process, sentry_dsn=own.sentry_dsn)
    return True


def _tell(channel: socket.socket, answer: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # a supervisor that is gone ends us by closing the channel
        channel.sendall(json.dumps(answer).encode())


if __name__ == "__main__":
    main()
