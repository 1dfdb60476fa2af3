"""The Open Data Contract Standard, version 3: what of it a contract's document must satisfy to be accepted.

A document that says `kind: DataContract` is one, and is checked; any other is the contract's own text, as its job type
reads it. What the standard leaves open stays open: members that it does not name are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jsonschema

KIND = "DataContract"

_TEXT = {"type": "string", "minLength": 1}
_NAMED = {"type": "object", "required": ["name"], "properties": {"name": _TEXT}}
_QUALITY = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "type": {"enum": ["text", "library", "sql", "custom"]},
            "dimension": _TEXT,
            "severity": _TEXT,
            "query": _TEXT,
            "rule": _TEXT,
        },
    },
}
_PROPERTY: dict[str, Any] = {
    **_NAMED,
    "properties": {
        "name": _TEXT,
        "logicalType": {
            "enum": ["string", "date", "timestamp", "time", "number", "integer", "object", "array", "boolean"]
        },
        "physicalType": _TEXT,
        "required": {"type": "boolean"},
        "unique": {"type": "boolean"},
        "primaryKey": {"type": "boolean"},
        "primaryKeyPosition": {"type": "integer"},
        "classification": _TEXT,
        "quality": _QUALITY,
        "properties": {"type": "array", "items": {"$ref": "#/$defs/property"}},
    },
}
SCHEMA: dict[str, Any] = {
    "$defs": {"property": _PROPERTY},
    "type": "object",
    "required": ["apiVersion", "kind", "id", "version", "status"],
    "properties": {
        "apiVersion": {"type": "string", "pattern": r"^v3\.[0-9]+\.[0-9]+$"},
        "kind": {"const": KIND},
        "id": _TEXT,
        "name": _TEXT,
        "version": _TEXT,
        "status": {"enum": ["proposed", "draft", "active", "deprecated", "retired"]},
        "tenant": _TEXT,
        "domain": _TEXT,
        "dataProduct": _TEXT,
        "description": {"type": "object"},
        "servers": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["server", "type"],
                "properties": {"server": _TEXT, "type": _TEXT},
            },
        },
        "schema": {
            "type": "array",
            "items": {
                **_NAMED,
                "properties": {
                    "name": _TEXT,
                    "logicalType": {"const": "object"},
                    "quality": _QUALITY,
                    "properties": {"type": "array", "items": {"$ref": "#/$defs/property"}},
                },
            },
        },
        "slaProperties": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["property", "value"],
                "properties": {"property": _TEXT, "unit": _TEXT, "element": _TEXT},
            },
        },
        "tags": {"type": "array", "items": _TEXT},
        "customProperties": {"type": "array", "items": {"type": "object", "required": ["property", "value"]}},
    },
}
_VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


class DocumentError(NamedTuple):
    """What is wrong with a document, and in which field."""

    field: str
    message: str


def problems(document: Mapping[str, Any]) -> list[DocumentError]:
    """Return what is wrong with a document that says it is a data contract; nothing for any other text."""
    if document.get("kind") != KIND and "apiVersion" not in document:
        return []
    return [
        DocumentError(_field(error), error.message[:300])
        for error in sorted(_VALIDATOR.iter_errors(dict(document)), key=lambda error: str(list(error.absolute_path)))
    ]


def _field(error: jsonschema.ValidationError) -> str:
    """Return the field's path; of a missing member, the member's own."""
    path = ".".join(str(part) for part in error.absolute_path)
    if error.validator == "required":
        missing = error.message.split("'")[1]
        return f"{path}.{missing}" if path else missing
    return path or "document"
