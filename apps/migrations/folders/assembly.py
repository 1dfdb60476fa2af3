"""A folder, read whole: its `Definition`, or everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from apps.migrations.definition import (
    DEFAULT_WAVES,
    Check,
    Definition,
    FailureRate,
    Gates,
    Kind,
    OnFailure,
    Risk,
    Stall,
    Step,
    TargetKind,
    Targets,
    Version,
    WhenFew,
)
from apps.migrations.folders import files, steps, strict_yaml
from apps.migrations.folders.fields import Fields
from apps.migrations.folders.files import Files
from apps.migrations.folders.problems import DOCUMENT, BadDefinitionError, Problem
from apps.migrations.folders.waves import waves

MOST_STEPS = 50
MOST_CHECKS = 20
MOST_PARALLEL = 1000
NAME = r"[a-z][a-z0-9_-]{0,62}"
NAME_RIGHT = "a name of lower-case letters, digits, '-' and '_' that begins with a letter, at most 63,"
VERSION = r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,62}"
DAY_S = 86_400

_SECRET = r"[a-z][a-z0-9]*(_[a-z0-9]+)*"  # noqa: S105 - a name's form
_SCHEMA = r"([a-z_][a-z0-9_]*)?(\{target\})?[a-z0-9_]*"


def read(folder: Path) -> Definition:
    """Return the folder's definition; raise `BadDefinitionError` with all that is wrong."""
    found = files.read(folder)
    document = _document(found)
    problems = list(document.problems)
    fields = Fields(document=document, file=DOCUMENT, problems=problems)
    definition = _definition(fields, found)
    fields.close()
    if problems:
        raise BadDefinitionError(folder=folder, problems=sorted(problems, key=lambda problem: problem.line))
    return definition


def identity(folder: Path) -> tuple[str, str, str] | None:
    """Return what a folder, even a bad one, says that it is: (name, from, to); None where that cannot be read."""
    try:
        value = _document(files.read(folder)).value
    except BadDefinitionError:
        return None
    said = [value.get(name) for name in ("name", "from", "to")] if isinstance(value, dict) else []
    return cast("tuple[str, str, str]", tuple(map(str, said))) if all(said) else None


def _document(found: Files) -> strict_yaml.Document:
    try:
        text = found.contents[DOCUMENT].decode()
    except UnicodeDecodeError as error:
        problem = Problem(file=DOCUMENT, line=1, field="", message="is not UTF-8")
        raise BadDefinitionError(folder=found.folder, problems=[problem]) from error
    document = strict_yaml.read(text, file=DOCUMENT)
    if document.value is None and document.problems:
        raise BadDefinitionError(folder=found.folder, problems=document.problems)
    return document


def _definition(fields: Fields, found: Files) -> Definition:
    name = fields.text("name", pattern=NAME, right=NAME_RIGHT + " as 'crm',")
    version_from, version_to = _versions(fields)
    made = [
        steps.step(each, number=number, folder=found)
        for number, each in enumerate(fields.mappings("steps", most=MOST_STEPS))
    ]
    if not made:
        fields.refuse("steps", "is missing: a list of at least one step would be right")
    _unlike(fields, "steps", made)
    gates = _gates(fields.mapping("gates"), found)
    targets = _targets(fields.mapping("targets"), fields)
    _reachable(fields, targets, made, gates)
    return Definition(
        name=name,
        module=fields.text("module", pattern=NAME, right=NAME_RIGHT, default=name),
        version_from=version_from,
        version_to=version_to,
        description=fields.text("description", right="a sentence of at most 500 characters", default=""),
        risk=fields.word("risk", Risk, default=Risk.LOW),
        targets=targets,
        parallel=fields.whole("parallel", default=10, least=1, most=MOST_PARALLEL),
        waves=waves(fields) if fields.has("waves") else DEFAULT_WAVES,
        gates=gates,
        on_failure=fields.word("on_failure", OnFailure, default=OnFailure.PAUSE),
        stall=_stall(fields.mapping("stall")),
        steps=tuple(made),
        checksum=found.checksum,
        folder=found.folder,
    )


def _versions(fields: Fields) -> tuple[str, str]:
    right = 'a version in quotes, as "1.4",'
    version_from = fields.text("from", pattern=VERSION, right=right)
    version_to = fields.text("to", pattern=VERSION, right=right)
    if version_from and version_from == version_to:
        fields.refuse("to", f"is {version_to!r} as `from`: the version that the targets have afterwards would be right")
    return version_from, version_to


def _targets(fields: Fields | None, above: Fields) -> Targets:
    if fields is None:
        above.refuse("targets", "is missing: {kind: tenant, …} would be right")
        return Targets(kind=TargetKind.TENANT)
    kind = fields.word("kind", TargetKind)
    database = fields.text("database", pattern=_SECRET, right="a secret's name, as 'crm_database',", default=None)
    schema = fields.text(
        "schema", pattern=_SCHEMA, most=80, right='a schema\'s plain name, as "tenant_{target}",', default=None
    )
    if database and schema is None and not fields.has("schema"):
        fields.refuse("schema", 'is missing beside `database`: a schema\'s plain name, as "tenant_{target}"')
    endpoint = fields.text("endpoint", right="an http or https URL", default=None)
    if endpoint and not _is_endpoint(endpoint):
        fields.refuse("endpoint", "an http or https URL without login, query and fragment would be right")
    version = fields.mapping("version")
    found = Targets(
        kind=kind, database=database, schema=schema, endpoint=endpoint, version=_version(version) if version else None
    )
    fields.close()
    return found


def _version(fields: Fields) -> Version:
    found = Version(
        read=fields.text("read", most=2000, right="a SELECT of one row, one text"),
        write=fields.text("write", most=2000, right="a statement with %(version)s"),
    )
    if found.write and "%(version)s" not in found.write:
        fields.refuse("write", "must hold %(version)s, where the new version goes")
    fields.close()
    return found


def _gates(fields: Fields | None, found: Files) -> Gates:
    if fields is None:
        return Gates(failure_rate=FailureRate())
    checks = tuple(steps.check(each, folder=found) for each in fields.mappings("checks", most=MOST_CHECKS))
    _unlike(fields, "checks", checks)
    gates = Gates(
        bake_s=fields.whole("bake_s", default=60, least=0, most=30 * DAY_S),
        health=fields.flag("health", default=True),
        failure_rate=_failure_rate(fields),
        checks=checks,
    )
    fields.close()
    return gates


def _failure_rate(above: Fields) -> FailureRate | None:
    if above.raw("failure_rate") is False:
        return None
    fields = above.mapping("failure_rate")
    if fields is None:
        return FailureRate()
    when_few = fields.raw("when_few") if fields.has("when_few") else "succeed"
    if when_few not in ("succeed", "inconclusive"):
        fields.refuse("when_few", "one of succeed, inconclusive would be right")
    rate = FailureRate(
        above_baseline=fields.number("above_baseline", default=0.05, least=0, most=1),
        at_least=fields.whole("at_least", default=20, least=1, most=1_000_000),
        baseline_s=fields.whole("baseline_s", default=3600, least=60, most=7 * DAY_S),
        when_few=cast("WhenFew", when_few),
    )
    fields.close()
    return rate


def _stall(fields: Fields | None) -> Stall:
    if fields is None:
        return Stall()
    then = fields.word("then", OnFailure, default=OnFailure.PAUSE)
    if then is OnFailure.REVERT_WAVE:
        fields.refuse("then", "is 'revert_wave': one of pause, revert would be right")
    stall = Stall(
        within_s=fields.whole("within_s", default=300, least=5, most=7 * DAY_S),
        min_rate=fields.number("min_rate", default=0, least=0, most=1e9),
        then=then,
    )
    fields.close()
    return stall


def _unlike(fields: Fields, name: str, made: Iterable[Step | Check]) -> None:
    """Refuse a name that two of them have."""
    seen: dict[str, int] = {}
    for each in made:
        if each.name and each.name in seen:
            fields.refuse(name, f"two are called {each.name!r}, in lines {seen[each.name]} and {each.line}")
        seen.setdefault(each.name, each.line)


def _reachable(fields: Fields, targets: Targets, made: list[Step], gates: Gates) -> None:
    """Refuse steps and checks that would have nothing to connect to, or nothing to call."""
    asking = [each.name for each in made if each.kind in steps.CONNECTED]
    asking += [each.name for each in gates.checks if each.kind is Kind.SQL]
    if asking and not targets.database and fields.has("targets"):
        fields.refuse("targets", f"database is missing, which {', '.join(asking)} need: a secret's name would be right")
    calling = [each.name for each in made if each.kind is Kind.MODULE]
    calling += [each.name for each in gates.checks if each.kind is Kind.MODULE]
    if calling and not targets.endpoint and fields.has("targets"):
        fields.refuse(
            "targets", f"endpoint is missing, which {', '.join(calling)} need: the module's URL would be right"
        )


def _is_endpoint(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    plain = not (parts.username or parts.password or parts.query or parts.fragment)
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and plain
