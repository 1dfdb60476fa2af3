"""A step and a check as their document writes them: the fields of each kind, and the texts of the files they name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apps.core.digests import digest_of
from apps.migrations.definition import Batch, Check, Kind, Phase, Step
from apps.migrations.folders import files
from apps.migrations.folders.fields import Fields
from apps.migrations.folders.files import Files

NOTHING = "nothing"
NAME = r"[a-z][a-z0-9_-]{0,62}"
NAME_RIGHT = "a name of lower-case letters, digits, '-' and '_' that begins with a letter, at most 63,"
WEEK_S = 7 * 86_400
CONNECTED = frozenset({Kind.SQL, Kind.PYTHON, Kind.DJANGO})  # kinds that need the target's database

_FUNCTION = r"[A-Za-z_]\w{0,62}:[A-Za-z_]\w{0,62}"
_FUNCTION_RIGHT = "'module:function', as 'steps:score' for `score` in steps.py,"
_JOB_TYPE = r"[a-z][a-z0-9_-]*(\.[a-z][a-z0-9_-]*)+"
_JOB_TYPE_RIGHT = "a job type's name, as 'kpi.refresh',"
_PATH = r"/(?!.*(//|\.\.))[\w.~/-]*"
_PATH_RIGHT = "a path below the endpoint, as '/migrate',"
_IDENTIFIER = r"[a-z_][a-z0-9_]{0,62}"
_IDENTIFIER_RIGHT = "a plain identifier (lower-case letters, digits and underscores)"


def step(fields: Fields, *, number: int, folder: Files) -> Step:
    """Return the step at this place of the list; what is wrong with it is noted in `fields`."""
    kind = fields.word("kind", Kind)
    phase = fields.word("phase", Phase)
    name = fields.text("name", pattern=NAME, right=NAME_RIGHT)
    known = fields.raw("kind") in list(Kind)  # of an unknown kind nobody can say which fields are right
    own = _OF_KIND[kind](fields, folder) if known else {}
    batch = _batch(fields, kind=kind, phase=phase)
    timeout_s = fields.whole("timeout_s", default=WEEK_S if batch else 3600, least=1, most=WEEK_S)
    fields.raw("revert")
    if known:
        fields.close()
    named = [own.get("file"), own.get("revert_file")]
    if kind is Kind.PYTHON:
        named = [_module(own.get("function")), _module(own.get("revert_function"))]
    return Step(
        name=name,
        kind=kind,
        phase=phase,
        number=number,
        checksum=_checksum(fields.values, [each for each in named if each], folder),
        undoes=_undone(fields),
        revert_said=fields.has("revert"),
        batch=batch,
        timeout_s=timeout_s,
        line=fields.line,
        **own,
    )


def check(fields: Fields, *, folder: Files) -> Check:
    """Return a gate's check; what is wrong with it is noted in `fields`."""
    name = fields.text("name", pattern=NAME, right=NAME_RIGHT)
    kind = fields.word("kind", Kind)
    own: dict[str, Any] = {}
    if kind is Kind.SQL:
        own = _file(fields, "file", folder, as_text="text", as_file="file")
    elif kind is Kind.JOB:
        own = {
            "job_type": fields.text("type", pattern=_JOB_TYPE, right=_JOB_TYPE_RIGHT),
            "params": fields.params("params"),
        }
    elif kind is Kind.MODULE:
        own = {"path": fields.text("path", pattern=_PATH, right=_PATH_RIGHT)}
    else:
        fields.refuse("kind", f"is {kind.value!r}: for a check one of sql, job, module would be right")
    fields.close()
    return Check(name=name, kind=kind, line=fields.line, **own)


def _sql(fields: Fields, folder: Files) -> dict[str, Any]:
    transaction = fields.flag("transaction", default=True)
    return {
        **_file(fields, "file", folder, as_text="text", as_file="file"),
        **(_file(fields, "revert", folder, as_text="revert_text", as_file="revert_file") if _undone(fields) else {}),
        # What cannot run in a transaction is slow by nature: an index is built beside all the traffic.
        **_timeouts(fields, statement_s=30 if transaction else 3600),
        "transaction": transaction,
    }


def _python(fields: Fields, _folder: Files) -> dict[str, Any]:
    found: dict[str, Any] = {"function": fields.text("function", pattern=_FUNCTION, right=_FUNCTION_RIGHT)}
    if _undone(fields):
        found["revert_function"] = fields.text("revert", pattern=_FUNCTION, right=_FUNCTION_RIGHT + " or nothing")
    return {**found, **_timeouts(fields, statement_s=30)}


def _job(fields: Fields, _folder: Files) -> dict[str, Any]:
    found: dict[str, Any] = {
        "job_type": fields.text("type", pattern=_JOB_TYPE, right=_JOB_TYPE_RIGHT),
        "params": fields.params("params"),
    }
    if _undone(fields):
        if isinstance(fields.raw("revert"), str):
            fields.refuse("revert", "{type: …, params: {…}}, or nothing, would be right")
        elif (revert := fields.mapping("revert")) is not None:
            found["revert_job_type"] = revert.text("type", pattern=_JOB_TYPE, right=_JOB_TYPE_RIGHT)
            found["revert_params"] = revert.params("params")
            revert.close()
    return found


def _module_call(fields: Fields, _folder: Files) -> dict[str, Any]:
    found: dict[str, Any] = {"path": fields.text("path", pattern=_PATH, right=_PATH_RIGHT)}
    if _undone(fields):
        found["revert_path"] = fields.text("revert", pattern=_PATH, right=_PATH_RIGHT + " or nothing")
    return found


def _django(fields: Fields, _folder: Files) -> dict[str, Any]:
    found: dict[str, Any] = {
        "settings": fields.text(
            "settings", pattern=r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", right="a settings module, as 'crm.settings',"
        ),
        "app": fields.text("app", pattern=r"[a-z_]\w*", right="an app's label"),
        "to": fields.text("to", pattern=r"\w+", right="a migration's whole name, as '0005_region',"),
    }
    if _undone(fields):
        found["revert_to"] = fields.text("revert", pattern=r"\w+", right="a migration's whole name, 'zero' or nothing")
    return {**found, **_timeouts(fields, statement_s=30)}


_OF_KIND = {Kind.SQL: _sql, Kind.PYTHON: _python, Kind.JOB: _job, Kind.MODULE: _module_call, Kind.DJANGO: _django}


def _undone(fields: Fields) -> bool:
    return fields.has("revert") and fields.raw("revert") != NOTHING


def _timeouts(fields: Fields, *, statement_s: float) -> dict[str, Any]:
    return {
        "lock_timeout_s": fields.number("lock_timeout_s", default=2, least=0, most=60, above=True),
        "statement_timeout_s": fields.number(
            "statement_timeout_s", default=statement_s, least=0, most=86_400, above=True
        ),
    }


def _batch(fields: Fields, *, kind: Kind, phase: Phase) -> Batch | None:
    if kind not in {Kind.SQL, Kind.PYTHON} or (batch := fields.mapping("batch")) is None:
        return None
    if phase is not Phase.BACKFILL:
        fields.refuse("batch", "belongs to steps of the phase backfill")
    if kind is Kind.SQL and fields.values.get("transaction") is False:
        fields.refuse("transaction", "each batch is a transaction of its own: leave it out")
    table = key = None
    if kind is Kind.SQL:  # a function finds its own way
        table = batch.text("table", pattern=_IDENTIFIER, right=_IDENTIFIER_RIGHT)
        key = batch.text("key", pattern=_IDENTIFIER, right=_IDENTIFIER_RIGHT)
    size = batch.whole("size", default=1000, least=1, most=100_000)
    rest = batch.number("rest", default=1, least=0, most=100)
    batch.close()
    return Batch(table=table, key=key, size=size, rest=rest)


def _file(fields: Fields, name: str, folder: Files, *, as_text: str, as_file: str) -> dict[str, Any]:
    """Return the text of the file that the field names, and its name."""
    right = "a file of the folder, as '10-add.sql'" + (", or nothing," if name == "revert" else "")
    file = fields.text(name, right=right, most=200)
    if not file:
        return {}
    if files.escapes(file):
        fields.refuse(name, f"{file!r} leads out of the folder, or is hidden: {right} would be right")
        return {}
    if file not in folder.contents:
        fields.refuse(name, f"there is no file {file!r} in the folder")
        return {}
    try:
        text = folder.contents[file].decode()
    except UnicodeDecodeError:
        fields.refuse(name, f"{file!r} is not UTF-8")
        return {}
    if "\0" in text or not text.strip():
        fields.refuse(name, f"{file!r} " + ("holds NUL bytes" if "\0" in text else "is empty"))
        return {}
    return {as_text: text, as_file: file}


def _module(function: str | None) -> str | None:
    return f"{function.partition(':')[0]}.py" if function else None


def _checksum(entry: Mapping[str, Any], named: list[str], folder: Files) -> str:
    return digest_of({"step": entry, "files": folder.digests(named)})
