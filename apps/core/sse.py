"""Server-sent events: a bounded number of long answers beside the short ones, each ended in good time.

A stream occupies a thread of the web process and nothing else: what it tells comes from a `live.Poller`. The threads
for streams are counted apart (`Slots`), so that however many are open, those of the API stay free; one too many is told
to come again. A stream ends by itself with an `end` event that says why, so a client knows a planned end from a broken
line; whoever reads on comes back with the last `id` it saw.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, Protocol, TypeVar

import structlog
from django.db import Error, connection
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from apps.core import problems

log = structlog.get_logger(__name__)

Answer = TypeVar("Answer", bound=HttpResponseBase)

MEDIA_TYPE: Final = "text/event-stream"
BEAT_EVERY_S = 15.0
COME_BACK_MS = 1000
# How soon a stream notices that its reader left or that the process is told to stop.
_LOOK_UP_EVERY_S = 1.0
# A reader that takes nothing for so long is taken for gone: it holds a thread.
_STALLED_S = 30
_AWAY_PAUSE_S = 0.5


class Slots:
    """How many streams a process serves, and how many of them one caller may have."""

    def __init__(self, *, streams: int, per_caller: int) -> None:
        self._streams = streams
        self._per_caller = per_caller
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()

    def take(self, caller: str) -> None:
        """Take a slot; raise 429 for a caller that has its share, 503 when all are taken."""
        with self._lock:
            if self._held[caller] >= self._per_caller:
                raise problems.TooManyRequests(
                    f"At most {self._per_caller} streams at once for one caller in one process.",
                    code="too_many_streams",
                    retry_after_s=5,
                )
            if self._held.total() >= self._streams:
                raise problems.Unavailable("Every stream this process serves is taken.", code="streams_full")
            self._held[caller] += 1

    def give_back(self, caller: str) -> None:
        """Give back a slot."""
        with self._lock:
            self._held[caller] -= 1
            if not self._held[caller]:
                del self._held[caller]

    @property
    def held(self) -> int:
        """Return how many are taken."""
        return self._held.total()


slots = Slots(streams=16, per_caller=8)
_stopping: Callable[[], bool] = lambda: False  # noqa: E731 - replaced by the server, which alone knows


def stop_when(stopping: Callable[[], bool]) -> None:
    """Have every stream of this process end once `stopping` is true, so that none holds up its restart."""
    global _stopping  # noqa: PLW0603 - one server per process
    _stopping = stopping


class EventStreamRenderer(BaseRenderer):
    """Lets `Accept: text/event-stream` through DRF's negotiation; the view then answers by `respond`."""

    media_type = MEDIA_TYPE
    format = "event-stream"
    charset = None

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,  # noqa: ARG002 - DRF's signature
        renderer_context: Mapping[str, Any] | None = None,  # noqa: ARG002
    ) -> bytes:
        """Return `data` as one message; streams are not rendered here."""
        return frame(data=data)


def wanted(request: Request) -> bool:
    """Return whether the caller asked for a stream rather than a page."""
    return getattr(request.accepted_renderer, "media_type", None) == MEDIA_TYPE


def frame(*, data: Any, event: str | None = None, at: str | None = None) -> bytes:
    """Return one message: `id` (where to resume), `event` (its type), `data` (one line of JSON).

    Pure ASCII: many a client ends a line at U+2028 or U+0085 as well, which the standard does not.
    """
    lines = [f"id: {at}\n" if at is not None else "", f"event: {event}\n" if event is not None else ""]
    return "".join(lines).encode() + b"data: " + json.dumps(data, separators=(",", ":")).encode("ascii") + b"\n\n"


class SourceOverError(Exception):
    """A source has told everything it will ever tell; `said` goes into the `end` event."""

    def __init__(self, **said: Any) -> None:
        super().__init__()
        self.said = said


class Source(Protocol):
    """What a stream tells."""

    def frames(self, *, wait_s: float) -> Sequence[bytes]:
        """Return the next frames, none if nothing comes within `wait_s`; raise `SourceOverError` at the end."""

    def close(self) -> None:
        """Let go of what it watches."""


def respond(
    request: Request, *, source: Callable[[], Source], caller: str, lifetime_s: float, begin: bytes = b""
) -> HttpResponse | StreamingHttpResponse:
    """Return the answer that streams `source` for at most `lifetime_s` (the token's); raises where no slot is free."""
    plain: HttpRequest = request._request
    if request.method == "HEAD":
        return _dressed(HttpResponse(status=HTTPStatus.OK, content_type=MEDIA_TYPE))
    slots.take(caller)
    # The thread is this stream's for minutes, its connection is not: the sources read over their poller's.
    connection.close()
    line = _Line(plain.META.get("gunicorn.socket"))
    try:
        told = source()
    except BaseException:
        slots.give_back(caller)
        raise
    # From here on the slot is the stream's, which the server closes whatever happens.
    body = _Stream(told, line=line, caller=caller, lifetime_s=lifetime_s, begin=begin)
    return _dressed(StreamingHttpResponse(body, content_type=MEDIA_TYPE))


def _dressed(response: Answer) -> Answer:
    response["Cache-Control"] = "no-store"
    response["X-Accel-Buffering"] = "no"
    return response


class _Line:
    """The connection to the reader, where the server lets us see it."""

    def __init__(self, line: socket.socket | None) -> None:
        self._line = line
        if line is not None:
            with contextlib.suppress(OSError):
                line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _STALLED_S, 0))

    def broken(self) -> bool:
        """Return whether the reader has hung up."""
        if self._line is None:
            return False
        try:
            readable, _, _ = select.select([self._line], [], [], 0)
            return bool(readable) and not self._line.recv(1, socket.MSG_PEEK)
        except (OSError, ValueError):
            return True


class _Stream:
    """The body: the source's frames, beats while it is silent, and the end. `close` is called whatever happened."""

    def __init__(self, source: Source, *, line: _Line, caller: str, lifetime_s: float, begin: bytes) -> None:
        now = time.monotonic()
        self._source = source
        self._line = line
        self._caller = caller
        self._begin: bytes | None = f"retry: {COME_BACK_MS}\n".encode() + (begin or b": welcome\n\n")
        self._ends_at = now + lifetime_s
        self._beat_at = now + BEAT_EVERY_S
        self._over = False
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._begin is not None:
            begin, self._begin = self._begin, None
            return begin
        while not self._over:
            told = self._told()
            if told:
                self._beat_at = time.monotonic() + BEAT_EVERY_S
                return told
        raise StopIteration

    def close(self) -> None:
        """Give everything back; safe to repeat."""
        if not self._closed:
            self._closed = self._over = True
            try:
                self._source.close()
            finally:
                slots.give_back(self._caller)

    def _told(self) -> bytes:
        """Return what is to be sent now: frames, a beat, the end; nothing if there is nothing to say."""
        now = time.monotonic()
        if _stopping():
            return self._end(reason="restarting")
        if now >= self._ends_at:
            return self._end(reason="token_expired")
        if self._line.broken():
            self._over = True
            return b""
        try:
            frames = self._source.frames(wait_s=max(0.0, min(_LOOK_UP_EVERY_S, self._ends_at - now)))
        except SourceOverError as over:
            return self._end(**over.said)
        except (Error, TimeoutError) as error:
            # The reader keeps its line while the database comes back: nothing was told that it would have to forget.
            log.warning("stream_waits_for_database", error=type(error).__name__)
            threading.Event().wait(_AWAY_PAUSE_S)
            frames = []
        if frames:
            return b"".join(frames)
        return b": beat\n\n" if time.monotonic() >= self._beat_at else b""

    def _end(self, **said: Any) -> bytes:
        self._over = True
        return frame(data=said, event="end")
