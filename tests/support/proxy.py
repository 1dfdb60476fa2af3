"""A TCP proxy that can be cut: then it takes no bytes, passes none on and closes nothing, as a dead network does."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from types import TracebackType
from typing import Self


class Proxy:
    """Listens on a port of its own and passes everything on to (host, port), until `cut`, and again after `mend`."""

    def __init__(self, *, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self._peer: dict[socket.socket, socket.socket] = {}
        self._over = threading.Event()
        self._open = threading.Event()
        self._open.set()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._open.set()
        self._thread.join()
        for each in [self._listener, *self._peer]:
            each.close()

    def cut(self) -> None:
        """Stop passing bytes; whoever sends waits for an answer that does not come."""
        self._open.clear()

    def mend(self) -> None:
        """Pass bytes again, those that were held back first."""
        self._open.set()

    def _run(self) -> None:
        with selectors.DefaultSelector() as watched:
            watched.register(self._listener, selectors.EVENT_READ)
            while not self._over.is_set():
                if not self._open.wait(timeout=0.1):
                    continue
                for key, _ in watched.select(timeout=0.05):
                    if not self._open.is_set():
                        break
                    if key.fileobj is self._listener:
                        self._accept(watched)
                    else:
                        self._pass_on(key.fileobj, watched)  # type: ignore[arg-type]  # we registered sockets only

    def _accept(self, watched: selectors.BaseSelector) -> None:
        near, _ = self._listener.accept()
        try:
            far = socket.create_connection(self._target, timeout=5)
        except OSError:
            near.close()
            return
        self._peer |= {near: far, far: near}
        for each in (near, far):
            watched.register(each, selectors.EVENT_READ)

    def _pass_on(self, source: socket.socket, watched: selectors.BaseSelector) -> None:
        if source not in self._peer:
            return
        target = self._peer[source]
        with contextlib.suppress(OSError):
            data = source.recv(65536)
            if data:
                target.sendall(data)
                return
        for each in (source, target):
            watched.unregister(each)
            del self._peer[each]
            each.close()
