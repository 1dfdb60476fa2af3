"""Receivers of webhooks: real HTTP servers on loopback that answer as a test says and remember what they were told."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Told:
    """One request, as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        return dict(json.loads(self.body))

    def signed_by(self, secret: str) -> bool:
        """Check the signature after the specification, not after the plane's code."""
        key = base64.b64decode(secret.removeprefix("whsec_"))
        signed = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode() + self.body
        due = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        return due in self.headers["webhook-signature"].split(" ")


@dataclass
class Receiver:
    """What a receiver was told, and what it answers: (status, headers, body), or a function of the request."""

    answer: Any = (204, {}, b"")
    told: list[Told] = field(default_factory=list)
    url: str = ""
    open_now: int = 0
    most_open: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ids(self) -> list[str]:
        with self.lock:
            return [each.headers["webhook-id"] for each in self.told]


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    receiver: Receiver

    def do_POST(self) -> None:
        receiver = self.receiver
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        told = Told(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        with receiver.lock:
            receiver.told.append(told)
            receiver.open_now += 1
            receiver.most_open = max(receiver.most_open, receiver.open_now)
        try:
            self._say(receiver.answer(told) if callable(receiver.answer) else receiver.answer)
        finally:
            with receiver.lock:
                receiver.open_now -= 1
            self.close_connection = True

    do_GET = do_POST  # noqa: N815 - the name http.server calls; whoever follows a redirect comes by it

    def _say(self, answer: tuple[int, Mapping[str, str], bytes]) -> None:
        status, headers, text = answer
        try:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(text)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)
        except OSError:
            """The sender has hung up."""

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """Does not wait for those it answers, so that a test may end while one hangs."""

    daemon_threads = True
    block_on_close = False


@contextmanager
def receiving(answer: Any = (204, {}, b""), *, address: str = "127.0.0.1") -> Iterator[Receiver]:
    """Run a receiver."""
    receiver = Receiver(answer)
    server = Server((address, 0), type("OneHandler", (Handler,), {"receiver": receiver}))
    receiver.url = f"http://{address}:{server.server_port}/hooks"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


Receiving = Callable[..., Receiver]
