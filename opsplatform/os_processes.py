"""Operating-system processes: who is who after pids were used again, waiting for a condition, ending what we started.

Touches /proc and signals, nothing of Django. A pid alone names nobody: it is used again, and a pid file outlives its
process. So a process is remembered with its birth mark, which no later process of the same pid can carry.
"""

import contextlib
import ctypes
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

import psutil

ON_LINUX: bool = sys.platform == "linux"
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None) if ON_LINUX else None


def birth_mark(*, pid: int) -> str | None:
    """Return a mark that tells this process from any other that ever had `pid`; None if it is gone or a zombie.

    On Linux it is boot id and start tick: unlike a start *time*, these do not move when the clock is set.
    """
    if ON_LINUX:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return None
        state, *fields = stat.rpartition(")")[2].split()  # the name, in brackets, may itself hold brackets and spaces
        if state in {"Z", "X"}:
            return None
        return f"{_boot_id()}:{fields[18]}"
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.NoSuchProcess:
        return None


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def is_same(*, pid: int, mark: str) -> bool:
    """Return whether the process remembered as (`pid`, `mark`) still lives."""
    return birth_mark(pid=pid) == mark


def command_line(*, pid: int) -> list[str]:
    """Return the arguments of a living process; empty if it is gone or not ours to see."""
    try:
        return psutil.Process(pid).cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return []


def wait_until(condition: Callable[[], bool], *, within_s: float, every_s: float = 0.02) -> bool:
    """Return True as soon as `condition` holds, False when `within_s` seconds have passed without it."""
    deadline = time.monotonic() + within_s
    pause = threading.Event()
    while not condition():
        if time.monotonic() >= deadline:
            return False
        pause.wait(every_s)
    return True


def send(*, pid: int, sign: signal.Signals) -> None:
    """Send a signal; a process that has gone meanwhile is no error."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, sign)


def end(*, processes: Iterable[tuple[int, str]], steps: Iterable[tuple[signal.Signals, float]]) -> bool:
    """Send the (signal, seconds to wait) of `steps` in turn until all (pid, mark) have gone; return whether so."""
    wanted = list(processes)

    def left() -> list[tuple[int, str]]:
        return [(pid, mark) for pid, mark in wanted if is_same(pid=pid, mark=mark)]

    for sign, wait_s in steps:
        for pid, _ in left():
            send(pid=pid, sign=sign)
        if wait_until(lambda: not left(), within_s=wait_s):
            return True
    return not left()


def follow(*, parent: int) -> None:
    """Have the kernel tell us to stop (SIGTERM) when our parent dies; end at once if `parent` is not it any more.

    Safe between fork and exec in a process of one thread. Elsewhere than on Linux nothing happens.
    """
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)


def adopt_orphans() -> bool:
    """Become the parent of whatever our descendants leave orphaned; return whether the system can do that."""
    return _libc is not None and bool(_libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def collect_orphans(*, kept: Collection[int]) -> None:
    """Collect the adopted ones that have ended; those of `kept` are left to whoever asks for their exit code."""
    with contextlib.suppress(ChildProcessError):
        while (dead := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and dead.si_pid not in kept:
            os.waitpid(dead.si_pid, 0)


def retitle(*, arguments: Sequence[str]) -> None:
    """Show `arguments`, as far as there is room, as this process's command line to whoever lists processes (Linux)."""
    fields = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    start, end = int(fields[45]), int(fields[46])
    text = "\0".join(arguments).encode(errors="surrogateescape")[: end - start - 1]
    if start and text:
        ctypes.memset(start, 0, end - start)
        ctypes.memmove(start, text, len(text))


def why_not_listen(*, host: str, port: int) -> str | None:
    """Return why a TCP server could not listen on host:port now, in the system's words; None when it could."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return error.strerror or str(error)
    return None
