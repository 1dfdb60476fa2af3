"""JSON as this plane takes it: exact, bounded, unambiguous. Everything else is a 400, 413 or 415 that names the place.

Python's `json` accepts what two readers can read differently (duplicate names, NaN, lone surrogates) and dies of what
is merely large (100,000 brackets exhaust the stack; 5,000 digits raise `ValueError` deep inside). So the bytes are
measured before they are parsed, the parser marks what it would otherwise swallow, and one walk over the tree judges
each value, since only the walk knows where in the document it is. Shared by request bodies, token headers and claims.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any, ClassVar, Final, NamedTuple

from rest_framework.parsers import BaseParser
from rest_framework.request import Request

from apps.core import problems

ROOT: Final = "body"
_BRACKETS: Final = b"[]{}"
_OPENING: Final = frozenset(b"[{")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # PostgreSQL's text holds no NUL, UTF-8 no half of a surrogate pair
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_LONGEST_FLOAT = 64
_LONGEST_INTEGER = 20
_LONGEST_PATH = 200


class BadJSONError(ValueError):
    """A document is not JSON as the plane takes it; `field` is the path of the offending value, `body` the whole."""

    def __init__(self, message: str, *, field: str = ROOT) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much of a document is too much: nesting, members of one object, values and members in all."""

    depth: int = 32
    members: int = 1_000
    nodes: int = 100_000


class _Refused(NamedTuple):
    """Stands in the parsed tree for a literal that must not become a value; the walk finds it and names its place."""

    why: str


class _Repeated(dict[str, Any]):
    """An object that said a name twice; `name` is the first such name."""

    name: str


def loads(data: bytes, *, limits: Limits | None = None) -> Any:
    """Return the value that `data` (UTF-8, no byte order mark) spells; raise `BadJSONError` naming the offending place.

    Integers fit 64 bits signed, floats are finite, strings hold neither NUL nor half a surrogate pair, no object
    repeats a name. Runs in time linear in `data`, whatever it holds.
    """
    limits = limits or Limits()
    _measure(data, limits)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadJSONError(f"not UTF-8 at byte {error.start}") from error
    try:
        tree = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise BadJSONError(f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from error
    except RecursionError as error:  # `_measure` keeps it away; a parser of another version may count differently
        raise BadJSONError(f"nested deeper than {limits.depth} levels") from error
    _judge(tree, limits)
    return tree


def _measure(data: bytes, limits: Limits) -> None:
    """Refuse what is too deep or too large by its punctuation alone, before any parser recurses into it.

    Escaped backslashes and quotes go first, so that the remaining quotes are exactly the strings' ends and every other
    piece between them lies outside strings. All of it runs inside C but the count of nesting, which is bounded by then.
    """
    bare = data.replace(rb"\\", b"").replace(rb"\"", b"")
    too_many = BadJSONError(f"more than {limits.nodes} values")
    if bare.count(b'"') > 4 * limits.nodes:  # a member is two strings at most, a string two quotes
        raise too_many
    structure = b"".join(bare.split(b'"')[::2])
    brackets = bytes(structure.translate(None, delete=_ALL_BUT_BRACKETS))
    if structure.count(b",") + len(brackets) // 2 > limits.nodes:
        raise too_many
    depth = 0
    for byte in brackets:
        depth += 1 if byte in _OPENING else -1
        if depth > limits.depth:
            raise BadJSONError(f"nested deeper than {limits.depth} levels")


_ALL_BUT_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in _BRACKETS)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) == len(pairs):
        return value
    seen: set[str] = set()
    repeated = _Repeated(value)
    repeated.name = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
    return repeated


def _integer(literal: str) -> int | _Refused:
    if len(literal.lstrip("-")) > _LONGEST_INTEGER or not -(2**63) <= int(literal) < 2**63:
        return _Refused("an integer beyond 64 bits")
    return int(literal)


def _float(literal: str) -> float | _Refused:
    if len(literal) > _LONGEST_FLOAT:
        return _Refused(f"a number of more than {_LONGEST_FLOAT} characters")
    value = float(literal)
    return value if math.isfinite(value) else _Refused("a number beyond what a double can hold")


def _constant(literal: str) -> _Refused:
    return _Refused(f"{literal} is not JSON")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant
)


def _judge(tree: Any, limits: Limits) -> None:
    """Walk the whole tree; raise `BadJSONError` for a value that must not enter. Its depth is known to be small."""
    for path, value in _nodes(tree, ()):
        if isinstance(value, str):
            if _UNSTORABLE.search(value):
                raise BadJSONError("a string with NUL or half a surrogate pair", field=_spell(path))
        elif isinstance(value, _Refused):
            raise BadJSONError(value.why, field=_spell(path))
        elif isinstance(value, dict):
            _judge_members(path, value, limits)


def _judge_members(path: tuple[str | int, ...], value: dict[str, Any], limits: Limits) -> None:
    if isinstance(value, _Repeated):
        raise BadJSONError("said twice in one object", field=_spell((*path, value.name)))
    if len(value) > limits.members:
        raise BadJSONError(f"an object of more than {limits.members} members", field=_spell(path))
    for name in value:
        if _UNSTORABLE.search(name):
            raise BadJSONError("a name with NUL or half a surrogate pair", field=_spell((*path, name)))


def _nodes(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield every value under `value`, itself first, with the names and positions that lead to it."""
    waiting: list[tuple[tuple[str | int, ...], Any]] = [(path, value)]
    while waiting:
        path, value = waiting.pop()
        yield path, value
        if isinstance(value, dict):
            waiting.extend(((*path, name), member) for name, member in value.items())
        elif isinstance(value, list):
            waiting.extend(((*path, position), item) for position, item in enumerate(value))


def _spell(path: tuple[str | int, ...]) -> str:
    """Return `path` as a person reads it, `jobs[3].params.region`; bounded and printable whatever the names hold."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _PLAIN_NAME.fullmatch(step):
            text += f".{step}" if text else step
        else:
            text += f"[{json.dumps(step[:64])}]"
    return text[:_LONGEST_PATH] or ROOT


class StrictJSONParser(BaseParser):
    """The request bodies of the API. A view that takes more sets its own subclass with other bounds."""

    media_type = "application/json"
    max_bytes: ClassVar[int] = 2**20
    limits: ClassVar[Limits] = Limits()

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,  # noqa: ARG002 - DRF's signature; the request's own header is read instead
        parser_context: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return the body's object; raise a 400, 413 or 415 problem that says what is wrong and where."""
        context = parser_context or {}
        request: Request | None = context.get("request")
        if request is not None:
            self._refuse_by_headers(request)
        body = stream.read(self.max_bytes + 1)
        if len(body) > self.max_bytes:
            raise self._too_large()
        if request is not None and request.parser_context is not None:
            request.parser_context["body_digest"] = hashlib.sha256(body).hexdigest()
        try:
            value = loads(body, limits=self.limits)
        except BadJSONError as error:
            raise problems.BadRequest(
                f"The body is not JSON as this API takes it: {error.field}: {error.message}.",
                code="invalid_json",
                errors=[problems.FieldError(field=error.field, message=error.message)],
            ) from error
        if not isinstance(value, dict):
            raise problems.BadRequest(
                "The body is one JSON object.",
                code="invalid_json",
                errors=[problems.FieldError(field=ROOT, message="not an object")],
            )
        return value

    def _refuse_by_headers(self, request: Request) -> None:
        """Refuse by what the headers say, before a byte is read: encodings, other charsets, announced size."""
        essence, _, parameters = request.META.get("CONTENT_TYPE", "").partition(";")
        if essence.strip().lower() != self.media_type:  # DRF's matching lets `*/*` through
            raise problems.UnsupportedMediaType(f"Bodies are {self.media_type}.")
        encoding = request.META.get("HTTP_CONTENT_ENCODING", "").strip().lower()
        if encoding not in {"", "identity"}:
            raise problems.BadRequest(
                "Bodies are taken uncompressed.",
                code="unsupported_encoding",
                errors=[problems.FieldError(field="Content-Encoding", message="none, or identity, would be right")],
            )
        charset = re.search(r'charset\s*=\s*"?([^\s;"]*)', parameters, flags=re.IGNORECASE)
        if charset and charset[1].lower() not in {"utf-8", "utf8"}:
            raise problems.UnsupportedMediaType("JSON travels in UTF-8.", code="unsupported_charset")
        announced = request.META.get("CONTENT_LENGTH") or "0"
        if not announced.isascii() or not announced.isdigit():
            raise problems.BadRequest("Content-Length is not a number.", code="invalid_content_length")
        if len(announced) > _LONGEST_INTEGER or int(announced) > self.max_bytes:
            raise self._too_large()

    def _too_large(self) -> problems.Problem:
        return problems.PayloadTooLarge(f"The body is larger than {self.max_bytes} bytes.", max_bytes=self.max_bytes)


class BatchJSONParser(StrictJSONParser):
    """The bodies of batch endpoints: a thousand jobs, each as large as a job may be."""

    max_bytes = 20 * 2**20
    limits = Limits(nodes=1_000_000)


def body_digest(request: Request) -> str:
    """Return the SHA-256 (hex) of the body's exact bytes, for telling a repeated request from another one.

    Reads the body where nobody did yet, and raises what is wrong with it: else it would have the digest of nothing, and
    two bodies were one request. A request without a body has the digest of nothing.
    """
    request.data  # noqa: B018 - reading it is what has it parsed
    digest: str | None = (request.parser_context or {}).get("body_digest")
    return digest or hashlib.sha256(b"").hexdigest()
