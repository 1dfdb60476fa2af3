"""Catalogue files: contracts, policies, plans and subscriptions as YAML, checked whole before anything is written.

plans:         [{plan_id, job_types, weight, max_running, jobs_per_day, backlog_cap, audit_debt, rate}]
subscriptions: [{tenant_id, plan_id, state, valid_until}]
contracts:     [{name, version, job_types, tenants, obligations, document}]
policies:      [{policy_id, job_types, tenants, except_tenants, reason_code, reason, active}]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from django.db import Error, connection, transaction
from django.utils.dateparse import parse_datetime

from apps.governance import odcs
from apps.governance import operations as governance
from apps.subscription import operations as subscription

_WORDS = {"type": "array", "items": {"type": "string", "minLength": 1}}
_MAYBE_WORDS = {"type": ["array", "null"], "items": {"type": "string", "minLength": 1}}
_NAME = {"type": "string", "pattern": "^[a-zA-Z0-9_-]+$"}
_COUNT = {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}


def _items(required: tuple[str, ...], **properties: Any) -> dict[str, Any]:
    item = {"type": "object", "additionalProperties": False, "required": list(required), "properties": properties}
    return {"type": "array", "items": item}


SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "plans": _items(
            ("plan_id", "job_types"),
            plan_id={**_NAME, "maxLength": 48},
            job_types=_WORDS,
            weight=_COUNT,
            max_running=_COUNT,
            jobs_per_day={"type": ["integer", "null"], "minimum": 0, "maximum": 2**31 - 1},
            backlog_cap={"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
            audit_debt={"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
            rate={"type": ["string", "null"]},
        ),
        "subscriptions": _items(
            ("tenant_id", "plan_id"),
            tenant_id={"type": "string"},
            plan_id={"type": "string"},
            state={"enum": ["active", "ended"]},
            valid_until={"type": ["string", "null"], "format": "date-time"},
        ),
        "contracts": _items(
            ("name", "version", "job_types", "document"),
            name={"type": "string", "pattern": "^[a-z][a-z0-9_.-]*$", "maxLength": 100},
            version=_COUNT,
            job_types=_WORDS,
            tenants=_MAYBE_WORDS,
            document={"type": "object"},
            obligations={"type": "object"},
        ),
        "policies": _items(
            ("policy_id", "job_types", "reason_code", "reason"),
            policy_id={**_NAME, "maxLength": 64},
            job_types=_WORDS,
            tenants=_MAYBE_WORDS,
            except_tenants=_WORDS,
            reason_code={**_NAME, "maxLength": 64},
            reason={"type": "string", "maxLength": 500},
            active={"type": "boolean"},
        ),
    },
}
_VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
PLAN = {
    "weight": 100,
    "max_running": 4,
    "jobs_per_day": None,
    "backlog_cap": 100_000,
    "audit_debt": 10_000,
    "rate": None,
}
SUBSCRIPTION = {"state": "active", "valid_until": None}


class BadCatalogueError(ValueError):
    """A catalogue file cannot be loaded; each line of the message names file, place and what would be right."""


def load(paths: list[Path]) -> dict[str, int]:
    """Load the files in one transaction, all or nothing; return how many of each kind they hold.

    Loading the same files again changes nothing. Raises `BadCatalogueError` with all that is wrong.
    """
    read = {path: _read(path) for path in paths}
    wrong = [f"{path}: {line}" for path, content in read.items() for line in _problems(content)]
    if wrong:
        raise BadCatalogueError("\n".join(wrong))
    counts: dict[str, int] = {}
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # so that an unknown plan or tenant is told in its place
        for kind, write in WRITERS.items():  # plans before those who are on them, in whichever file they stand
            for path, content in read.items():
                for place, item in enumerate(content.get(kind) or ()):
                    _write(write, item, where=f"{path}: {kind}.{place}")
                    counts[kind] = counts.get(kind, 0) + 1
    return counts


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadCatalogueError(f"{path}: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise BadCatalogueError(f"{path}: a mapping of {', '.join(WRITERS)} would be right")
    return content


class _Loader(yaml.SafeLoader):
    """Reads times as texts: what a document says is kept as it says it, and JSON has no times."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _problems(content: Mapping[str, Any]) -> list[str]:
    errors = sorted(_VALIDATOR.iter_errors(dict(content)), key=lambda error: str(list(error.absolute_path)))
    found = [f"{'.'.join(map(str, error.absolute_path)) or 'file'}: {error.message[:300]}" for error in errors]
    if not found:
        for place, contract in enumerate(content.get("contracts") or ()):
            wrong = odcs.problems(contract["document"])
            found += [f"contracts.{place}.document.{each.field}: {each.message}" for each in wrong]
    return found


def _write(write: Callable[..., object], item: Mapping[str, Any], *, where: str) -> None:
    try:
        with transaction.atomic():
            write(**item)
    except (governance.ContractChangedError, ValueError) as error:
        raise BadCatalogueError(f"{where}: {error}") from error
    except Error as error:
        detail = " ".join(str(error).split())
        raise BadCatalogueError(f"{where}: {detail}") from error


def _plan(**item: Any) -> None:
    subscription.put_plan(**{**PLAN, **item})


def _subscription(**item: Any) -> None:
    until = item.get("valid_until")
    instant = None if until is None else parse_datetime(until)
    if until is not None and (instant is None or instant.tzinfo is None):
        raise ValueError("valid_until: a time with its offset, such as 2027-01-01T00:00:00Z, would be right")
    subscription.subscribe(**{**SUBSCRIPTION, **item, "valid_until": instant})


WRITERS: dict[str, Callable[..., object]] = {
    "plans": _plan,
    "subscriptions": _subscription,
    "contracts": governance.publish_contract,
    "policies": governance.put_policy,
}
