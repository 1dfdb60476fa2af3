"""One decision point's HTTP side: JSON out and in, to one origin and no other (`apps.core.exchange`)."""

from __future__ import annotations

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from apps.core import strict_json
from apps.core.authzen_wire import EVALUATION, EVALUATIONS, WELL_KNOWN
from apps.core.exchange import AwayError, Exchange, TooLongError

ANSWER_WITHIN_S: Final = 2.0
_REDISCOVER_S: Final = 3600.0


class PointAwayError(Exception):
    """No answer came: refused, cut off, too slow, or a word that says "not now" (429, 5xx)."""


class PointRefusedError(Exception):
    """An answer came that is no decision: a 4xx, or a body that is not of the specification's form."""


class Transport:
    """Speaks to the decision point at `url`; `token` makes the bearer token of each request."""

    def __init__(self, *, url: str, token: Callable[[], str], answer_within_s: float = ANSWER_WITHIN_S) -> None:
        self._url = url.rstrip("/")
        parts = urlsplit(self._url)
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._configuration = f"{self._origin}{WELL_KNOWN}{parts.path}"
        self._exchange = Exchange(token=token, answer_within_s=answer_within_s)
        self._endpoints: tuple[str, str | None] = ("", None)
        self._discovered_at: float | None = None

    def evaluate(self, body: Any) -> Any:
        """Return the answer's JSON to one evaluation; raises `PointAwayError` and `PointRefusedError`."""
        return self._said(*self._send("POST", self._discover()[0], body))

    def evaluate_all(self, bodies: list[Any]) -> list[Any]:
        """Return an answer's JSON to each evaluation, in order; a point without batches is asked one by one."""
        many = self._discover()[1]
        if many is None or len(bodies) == 1:
            return [self.evaluate(body) for body in bodies]
        status, text = self._send("POST", many, {"evaluations": bodies})
        if status in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED}:
            self._endpoints = (self._endpoints[0], None)
            return [self.evaluate(body) for body in bodies]
        found = self._said(status, text)
        answers = found.get("evaluations") if isinstance(found, dict) else None
        if not isinstance(answers, list) or len(answers) != len(bodies):
            raise PointRefusedError("evaluations: as many answers as questions would be right")
        return answers

    def _discover(self) -> tuple[str, str | None]:
        """Return where to ask: as the point's metadata says, or the specification's own addresses.

        An address of another origin is refused, not followed: the token would go there.
        """
        now = time.monotonic()
        if self._discovered_at is not None and now - self._discovered_at < _REDISCOVER_S:
            return self._endpoints
        one: Any = self._url + EVALUATION
        many: Any = self._url + EVALUATIONS
        status, text = self._send("GET", self._configuration, None)
        if status == HTTPStatus.OK:
            told = self._said(status, text)
            if not isinstance(told, dict):
                raise PointRefusedError("the metadata is no object")
            one = told.get("access_evaluation_endpoint", one)
            many = told.get("access_evaluations_endpoint")
            named = [one] if many is None else [one, many]
            for address in named:
                if not isinstance(address, str) or not address.startswith(f"{self._origin}/"):
                    raise PointRefusedError("the metadata names an address of another origin")
        elif status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise PointAwayError(f"the metadata was answered with {status}")
        self._endpoints, self._discovered_at = (one, many), now
        return self._endpoints

    def _send(self, method: str, address: str, body: Any) -> tuple[int, bytes]:
        """Return status and body of one exchange; raise `PointAwayError` when there is none within the time."""
        try:
            answered = self._exchange.send(method, address, None if body is None else orjson.dumps(body))
        except AwayError as error:
            raise PointAwayError(str(error)) from error
        except TooLongError as error:
            raise PointRefusedError(str(error)) from error
        return answered.status, answered.body

    def _said(self, status: int, text: bytes) -> Any:
        if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise PointAwayError(f"answered with {status}")
        if status != HTTPStatus.OK:
            raise PointRefusedError(f"answered with {status}")
        try:
            return strict_json.loads(text)
        except strict_json.BadJSONError as error:
            raise PointRefusedError("the answer is no JSON that two readers would read alike") from error
