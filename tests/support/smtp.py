"""Real SMTP servers on loopback that take mail, or are as bad as a test says, and remember what they took."""

from __future__ import annotations

import asyncio
import email
import email.message
import email.policy
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

logging.getLogger("mail.log").setLevel(logging.ERROR)  # its every word would drown what a failed test has to say

TAKEN = "250 OK"
# What a server may do with a mail: answer so, hang with the answer, or break the connection.
Behaviour = Callable[[], str | None]


@dataclass
class Post:
    """What a server took, and what it does with the next mail: an answer, `hang` or `drop`."""

    behaviour: str = TAKEN
    mails: list[email.message.EmailMessage] = field(default_factory=list)
    tried: int = 0
    port: int = 0
    _waiting: list[asyncio.Event] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}/?from=ops@example.org&to=oncall@example.org"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - its name
        self.tried += 1
        if self.behaviour == "hang":
            event = asyncio.Event()
            self._waiting.append(event)
            await event.wait()
            return "421 too late"
        if self.behaviour == "drop":
            assert server.transport is not None
            server.transport.abort()
            return "421 gone"
        if self.behaviour == TAKEN:
            content: Any = envelope.content
            message = email.message_from_bytes(content, policy=email.policy.default)
            self.mails.append(message)
        return self.behaviour


@contextmanager
def posting(behaviour: str = TAKEN) -> Iterator[Post]:
    """Run a server."""
    post = Post(behaviour)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        post.port = free.getsockname()[1]
    controller = Controller(post, hostname="127.0.0.1", port=post.port)
    controller.start()
    try:
        yield post
    finally:
        for event in post._waiting:
            controller.loop.call_soon_threadsafe(event.set)
        controller.stop()
