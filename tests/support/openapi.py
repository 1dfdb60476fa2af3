"""The OpenAPI document as tests ask it: every operation, what it takes, and a body that it would take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from django.conf import settings

# What a field's type does not tell. A new field that needs another value is named by the test that meets it: 400.
SAMPLES: dict[str, Any] = {
    "type": "ops.noop",
    "cron": "@daily",
    "event_type": "operations.job.failed",
    "event_types": ["operations.job.failed"],
    "url": "https://example.org/",
    "name": "of the matrix",
    "priority": "high",
    "version": 1,
    "start": "2026-01-01T00:00:00Z",
    "end": "2026-01-02T00:00:00Z",
    "since": "2026-01-01T00:00:00Z",
}
OF_TYPE: dict[str, Any] = {"string": "x", "integer": 1, "number": 1, "boolean": True, "array": [], "object": {}}


@dataclass(frozen=True)
class Operation:
    """One method of one address."""

    method: str
    path: str
    spec: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @cached_property
    def in_path(self) -> list[str]:
        return [each["name"] for each in self.spec.get("parameters", []) if each["in"] == "path"]

    @cached_property
    def in_query(self) -> list[str]:
        return [each["name"] for each in self.spec.get("parameters", []) if each["in"] == "query"]

    @cached_property
    def body(self) -> Mapping[str, Any] | None:
        """Return the schema of its body, resolved."""
        content = self.spec.get("requestBody", {}).get("content", {}).get("application/json")
        return None if content is None else resolved(content["schema"])

    def takes(self) -> Any:
        """Return a body with what is required and nothing else."""
        return {} if self.body is None else sample(self.body)

    def at(self, **ids: str) -> str:
        return self.path.format(**ids)


def document() -> dict[str, Any]:
    """Return the document, which `make check` keeps in step with the code."""
    text = (Path(settings.BASE_DIR) / "docs/openapi.yaml").read_text(encoding="utf-8")
    return dict(yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))  # noqa: S506 - a safe one


DOCUMENT = document()


def operations() -> list[Operation]:
    """Return every operation of the API."""
    methods = {"get", "post", "put", "patch", "delete"}
    return [
        Operation(method.upper(), path, spec)
        for path, found in DOCUMENT["paths"].items()
        for method, spec in found.items()
        if method in methods
    ]


def resolved(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a schema with what it refers to."""
    (first, *_) = schema.get("allOf") or schema.get("oneOf") or [schema]
    if "$ref" not in first:
        return dict(first)
    found: Any = DOCUMENT
    for step in first["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return resolved(found)


def sample(schema: Mapping[str, Any]) -> Any:
    """Return a value that a schema takes, as small as it may be."""
    if schema.get("type") == "object" or "properties" in schema:
        wanted = schema.get("required", [])
        return {name: SAMPLES.get(name, sample(resolved(schema["properties"][name]))) for name in wanted}
    if schema.get("type") == "array" and schema.get("minItems", 0):
        return [sample(resolved(schema["items"]))]
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "object")
    return OF_TYPE[kind if isinstance(kind, str) else kind[0]]
