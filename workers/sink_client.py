"""The evidence sink as the emitter sees it: an envelope out, a name for it back, and perhaps a witness's word.

Which sink: `OPS_EVIDENCE_URL`, or the built-in one (`workers/sink.py`), whose address and key lie in its folder. A
witness is believed by its key, which is known beforehand, and by nothing that comes with its answer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import orjson

from apps.core import strict_json
from apps.core.clock import system_now
from apps.core.exchange import Answered, AwayError, Exchange, TooLongError
from apps.evidence import cosigning
from apps.evidence.notes import BadNoteError
from apps.evidence.witnessed import witness_in
from apps.tenancy import tokens

AUDIENCE: Final = "evidence"
SUBJECT: Final = "operations"
SCOPE: Final = "evidence:emit"
TOKEN_LIVES_S: Final = 120
ANSWER_WITHIN_S: Final = 10.0
LONGEST_REF: Final = 200
LONGEST_PAUSE_S: Final = 300.0
ADDRESS_FILE: Final = "address.json"


class SinkAwayError(Exception):
    """Nobody answers, or with "not now"; `retry_after_s` is the pause that was asked for."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class SinkRefusedError(Exception):
    """The sink said no to this envelope; the message is a word of its, or its status."""


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What the sink has of a log: everything up to `size` (None: what it was just sent), under the name `ref`.

    `note` is the checkpoint there, cosigned by the sink's witness, verified; None where the sink is no witness.
    """

    ref: str
    size: int | None
    note: str | None


class Sink:
    """The sink that the surroundings name: `url` where one is set, else the built-in one in `folder`."""

    def __init__(self, *, url: str | None, witness: str | None, folder: Path) -> None:
        self._url = url
        self._witness = witness
        self._folder = folder
        self._exchange = Exchange(token=_token, answer_within_s=ANSWER_WITHIN_S)

    def witness(self) -> cosigning.Witness | None:
        """Return the witness whose word is asked for, or None; raises `SinkAwayError` where it is not there yet."""
        if self._url is not None and self._witness is None:
            return None
        try:
            witness = cosigning.Witness.of_word(self._witness) if self._witness else witness_in(self._folder)
        except (OSError, BadNoteError) as error:
            raise SinkAwayError("the witness's key cannot be read") from error
        if witness is None:
            raise SinkAwayError("the built-in sink has not run yet")
        return witness

    def offer(self, envelope: dict[str, Any]) -> Receipt:
        """Offer an envelope; return the receipt, or raise `SinkAwayError` or `SinkRefusedError`."""
        witness = self.witness()
        try:
            answered = self._exchange.send("POST", self._address(), orjson.dumps(envelope))
        except (AwayError, TooLongError) as error:
            raise SinkAwayError(str(error)) from error
        status = answered.status
        if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise SinkAwayError(f"answered with {status}", retry_after_s=_pause(answered))
        told = _object(answered)
        if status == HTTPStatus.CONFLICT and witness is not None and isinstance(told.get("size"), int):
            return _receipt(told, witness=witness, size=told["size"])
        if status not in {HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.ACCEPTED}:
            code = told.get("code")
            raise SinkRefusedError(code[:100] if isinstance(code, str) else f"answered with {status}")
        return _receipt(told, witness=witness, size=None)

    def _address(self) -> str:
        if self._url is not None:
            return self._url
        try:
            return str(json.loads((self._folder / ADDRESS_FILE).read_text(encoding="utf-8"))["url"])
        except (OSError, ValueError, KeyError) as error:
            raise SinkAwayError("the built-in sink does not run") from error


def _receipt(told: dict[str, Any], *, witness: cosigning.Witness | None, size: int | None) -> Receipt:
    """Return what the sink said it has; what a witness should have signed and did not is no receipt."""
    ref, note = told.get("ref"), told.get("checkpoint")
    if size == 0:  # it never saw the log
        return Receipt(ref="", size=0, note=None)
    if not isinstance(ref, str) or not 0 < len(ref) <= LONGEST_REF or "\x00" in ref:
        raise SinkRefusedError("the answer names no ref of up to 200 characters")
    if witness is None:
        return Receipt(ref=ref, size=size, note=None)
    if not isinstance(note, str):
        raise SinkRefusedError("the witness did not cosign")
    try:
        cosigning.seen_at(note, by=witness)
    except BadNoteError as error:
        raise SinkRefusedError(f"the witness: {error}") from error
    return Receipt(ref=ref, size=size, note=note)


def _object(answered: Answered) -> dict[str, Any]:
    try:
        told = strict_json.loads(answered.body)
    except strict_json.BadJSONError:
        return {}
    return told if isinstance(told, dict) else {}


def _pause(answered: Answered) -> float | None:
    text = answered.headers.get("Retry-After", "")
    return min(float(text), LONGEST_PAUSE_S) if text.isascii() and text.isdigit() else None


def _token() -> str:
    return tokens.issue(
        subject=SUBJECT, tenants=["*"], scopes=[SCOPE], now=system_now(), ttl_s=TOKEN_LIVES_S, audience=AUDIENCE
    )
