"""A job type's params schema: judged once when the type is registered, then asked of every submission.

JSON Schema 2020-12 through `jsonschema`, with its three traps shut: a remote `$ref` is never fetched (the
library would, by default), a `pattern` cannot run for minutes (see `pattern.py`), and a `format` nobody checks
is refused instead of silently passing everything. Messages say what would be right and never repeat a value.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from apps.jobs.pattern import MAX_SUBJECT_CHARS, BadPatternError, compiled

MAX_PARAMS_BYTES = 16 * 1024
MAX_PROBLEMS = 50
_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_FORMATS = {
    "date": "a date as 2024-05-31",
    "date-time": "a time with its zone, as 2024-05-31T12:00:00Z",
    "uuid": "a UUID",
    "email": "an e-mail address",
    "ipv4": "an IPv4 address",
    "ipv6": "an IPv6 address",
    "uri": "a URI with its scheme",
}
_TYPES = {
    "object": "an object",
    "array": "a list",
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}
_DATA_KEYWORDS = frozenset({"enum", "const", "default", "examples"})  # what stands in these is data, not schema
_FORBIDDEN = {
    "$id": "schemas stand alone: leave $id out",
    "$dynamicRef": "use $ref with a place in this schema (#/$defs/…)",
    "patternProperties": "use propertyNames with additionalProperties",
}

_formats = FormatChecker(formats=("date", "uuid", "email", "ipv4", "ipv6"))


@_formats.checks("date-time", raises=ValueError)
def _is_date_time(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


@_formats.checks("uri", raises=ValueError)
def _is_uri(value: object) -> bool:
    return not isinstance(value, str) or (bool(urlsplit(value).scheme) and re.search(r"[\s\x00-\x1f]", value) is None)


def _pattern(_validator: Any, source: str, value: object, _schema: Any) -> Iterator[ValidationError]:
    if not isinstance(value, str):
        return
    if len(value) > MAX_SUBJECT_CHARS or not compiled(source).found_in(value):
        yield ValidationError("does not match")


_Validator = extend(Draft202012Validator, {"pattern": _pattern})  # type: ignore[no-untyped-call]


class BadSchemaError(ValueError):
    """A params schema that is invalid, or asks for what is not allowed here."""


@dataclass(frozen=True, slots=True, order=True)
class ParamProblem:
    """One thing wrong with some params: `path`, a JSON Pointer ('' is the whole); `message`, what would be right."""

    path: str
    message: str


class ParamsSchema:
    """A judged schema, ready to be asked. `document` is its own deep copy, as JSON."""

    def __init__(self, schema: Mapping[str, Any], *, closed: bool = True, max_bytes: int = MAX_PARAMS_BYTES) -> None:
        """Judge `schema`; raise BadSchemaError. `closed`: it must refuse unknown fields by name.

        `max_bytes`: the longest document `problems` will look into, as JSON.
        """
        self._max_bytes = max_bytes
        try:
            self.document: dict[str, Any] = json.loads(json.dumps(schema, allow_nan=False))
            _judge(self.document, closed=closed)
            self._validator = _Validator(self.document, registry=Registry(), format_checker=_formats)
            next(self._validator.iter_errors({}), None)  # a $ref that only leads to itself shows here
            _judge_examples(self)
        except (TypeError, ValueError) as error:
            if isinstance(error, BadSchemaError):
                raise
            raise BadSchemaError(f"the schema must be JSON: {error}") from error
        except RecursionError as error:
            raise BadSchemaError("a $ref leads to itself without end") from error

    def shown(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return `params` without those that their schema says are `writeOnly`: taken, and told to nobody."""
        said = self.document.get("properties", {})
        return {name: value for name, value in params.items() if not _write_only(said.get(name))}

    def problems(self, params: object) -> list[ParamProblem]:
        """Return what is wrong with `params`, ordered by path, at most 50; an empty list: all is well. Never raises."""
        try:
            if len(json.dumps(params, allow_nan=False, ensure_ascii=False).encode("utf-8")) > self._max_bytes:
                return [ParamProblem("", f"must be at most {self._max_bytes} bytes; pass references, not data")]
            found = {problem for error in self._validator.iter_errors(params) for problem in _problems(error)}
        except RecursionError:
            return [ParamProblem("", "must not be nested so deep")]
        except (TypeError, ValueError):
            return [ParamProblem("", "must be JSON: no NaN, no lone surrogates, only string keys")]
        return sorted(found)[:MAX_PROBLEMS]


def _write_only(schema: object) -> bool:
    return isinstance(schema, dict) and schema.get("writeOnly") is True


def _judge(schema: object, *, closed: bool) -> None:
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise BadSchemaError('its top must be {"type": "object", …}')
    if schema.get("$schema", _DRAFT) != _DRAFT:
        raise BadSchemaError("$schema must be draft 2020-12, or be left out")
    if closed and False not in (schema.get("additionalProperties"), schema.get("unevaluatedProperties")):
        raise BadSchemaError("it must say additionalProperties: false, so that a misspelt field is refused by name")
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise BadSchemaError(f"at {error.json_path}: {error.message[:300]}") from error
    resolver = Registry().with_resource("", DRAFT202012.create_resource(schema)).resolver()
    for keyword, value in _keywords(schema):
        if keyword in _FORBIDDEN:
            raise BadSchemaError(f"{keyword} is not allowed: {_FORBIDDEN[keyword]}")
        if keyword == "$ref":
            _judge_reference(value, resolver)
        elif keyword == "format" and value not in _FORMATS:
            raise BadSchemaError(f"format {value!r} is not checked here; known: {', '.join(sorted(_FORMATS))}")
        elif keyword == "pattern":
            try:
                compiled(value)
            except BadPatternError as error:
                raise BadSchemaError(f"pattern {value!r}: {error}") from error


def _judge_reference(reference: str, resolver: Any) -> None:
    if not reference.startswith("#"):
        raise BadSchemaError(f"$ref {reference!r} leads out of the schema; only '#…' is followed, nothing is fetched")
    try:
        resolver.lookup(reference)
    except Unresolvable as error:
        raise BadSchemaError(f"$ref {reference!r} leads nowhere") from error


def _judge_examples(schema: ParamsSchema) -> None:
    for number, example in enumerate(schema.document.get("examples", [])):
        for problem in schema.problems(example):
            raise BadSchemaError(f"its example {number} is refused by itself: {problem.path} {problem.message}")


def _keywords(node: object) -> Iterator[tuple[str, Any]]:
    """Walk a checked schema's keywords; a *property* named like one holds a schema, no string: told apart by that."""
    if isinstance(node, list):
        for item in node:
            yield from _keywords(item)
    elif isinstance(node, dict):
        for key, value in node.items():
            if isinstance(value, str) or key == "patternProperties":
                yield key, value
            if key not in _DATA_KEYWORDS or isinstance(value, dict):
                yield from _keywords(value)


def _problems(error: ValidationError) -> Iterator[ParamProblem]:
    pointer = "".join(f"/{_escaped(str(step))}" for step in error.absolute_path)
    instance, wanted = error.instance, error.validator_value
    if error.validator == "required" and isinstance(instance, dict) and isinstance(wanted, list):
        yield from (
            ParamProblem(f"{pointer}/{_escaped(name)}", "is required") for name in wanted if name not in instance
        )
    elif error.validator == "additionalProperties" and isinstance(instance, dict) and wanted is False:
        known = sorted(error.schema.get("properties", ())) if isinstance(error.schema, dict) else []
        right = f"known: {', '.join(known)}" if known else "no fields are"
        extra = [name for name in instance if name not in known]
        yield from (ParamProblem(f"{pointer}/{_escaped(name)}", f"is not known here; {right}") for name in extra)
    else:
        yield ParamProblem(pointer, _sentence(str(error.validator), wanted, error))


def _sentence(keyword: str, wanted: Any, error: ValidationError) -> str:
    """Return what would be right, in words."""
    plain = {
        "minimum": "at least {}",
        "maximum": "at most {}",
        "exclusiveMinimum": "more than {}",
        "exclusiveMaximum": "less than {}",
        "multipleOf": "a multiple of {}",
        "minLength": "at least {} characters long",
        "maxLength": "at most {} characters long",
        "minItems": "a list of at least {}",
        "maxItems": "a list of at most {}",
        "minProperties": "an object with at least {} fields",
        "maxProperties": "an object with at most {} fields",
        "pattern": "text that matches {}",
    }
    if keyword == "type":
        names = wanted if isinstance(wanted, list) else [wanted]
        right = " or ".join(_TYPES[name] for name in names)
    elif keyword in ("enum", "const"):
        values = wanted if keyword == "enum" else [wanted]
        right = "one of: " + ", ".join(json.dumps(value) for value in values[:20])
    elif keyword == "format":
        right = _FORMATS[wanted]
    elif keyword == "uniqueItems":
        right = "a list without repeats"
    elif keyword in plain:
        right = plain[keyword].format(wanted)
    else:
        described = error.schema.get("description") if isinstance(error.schema, dict) else None
        right = f"as the schema says ({keyword})" + (f": {described}" if described else "")
    subject = "every field's name must be " if "propertyNames" in error.absolute_schema_path else "must be "
    return (subject + right)[:500]


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")[:100]
