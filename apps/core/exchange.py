"""An HTTP exchange with a service that the operator named: within a time-out and a size, and with nobody else.

No redirect is followed, no proxy of the environment is used, no answer is read past its cap: the service is trusted
with what it is for, not with this process. Connections are kept and used again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import urllib3

CONNECT_WITHIN_S: Final = 1.0
LARGEST: Final = 1 << 20
_CHUNK: Final = 1 << 14
_KEPT_CONNECTIONS: Final = 8


class AwayError(Exception):
    """No answer came: refused, cut off, or too slow."""


class TooLongError(Exception):
    """The answer is longer than any that is meant."""


class Answered(NamedTuple):
    """What came back."""

    status: int
    body: bytes
    headers: Mapping[str, str]


class Exchange:
    """Speaks with a service; `token` makes each request's bearer token, `answer_within_s` bounds the whole of it."""

    def __init__(self, *, token: Callable[[], str], answer_within_s: float) -> None:
        self._token = token
        self._answer_within_s = answer_within_s
        self._pool = urllib3.PoolManager(maxsize=_KEPT_CONNECTIONS, retries=False)

    def send(self, method: str, address: str, body: bytes | None) -> Answered:
        """Return what was answered to JSON (or to nothing); raises `AwayError` and `TooLongError`."""
        deadline = time.monotonic() + self._answer_within_s
        headers = {"Accept": "application/json", "Authorization": f"Bearer {self._token()}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            answer = self._pool.request(
                method,
                address,
                body=body,
                headers=headers,
                timeout=urllib3.Timeout(connect=CONNECT_WITHIN_S, total=self._answer_within_s),
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
            )
            text = _read(answer, deadline=deadline)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise AwayError(type(error).__name__) from error
        return Answered(int(answer.status), text, answer.headers)


def _read(answer: urllib3.BaseHTTPResponse, *, deadline: float) -> bytes:
    """Return the body. urllib3's time-out holds for each read: a service that drips is cut off at the deadline here."""
    parts: list[bytes] = []
    size = 0
    whole = False
    try:
        while part := answer.read1(_CHUNK):
            parts.append(part)
            size += len(part)
            _check(size=size, late=time.monotonic() > deadline)
        whole = True
    finally:
        if not whole:
            answer.close()  # a connection with half an answer in it serves nobody
    answer.release_conn()
    return b"".join(parts)


def _check(*, size: int, late: bool) -> None:
    if size > LARGEST:
        raise TooLongError(f"the answer is longer than {LARGEST} bytes")
    if late:
        raise AwayError("the answer came too slowly")
