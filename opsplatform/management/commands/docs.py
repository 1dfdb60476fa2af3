"""`manage.py docs [--check]`: the documents that code writes: lives of jobs and migrations, the API's description.

Needs no running service. `--check` writes nothing and ends with code 1, naming each file that is out of step.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiYamlRenderer

from apps.jobs import lifecycle
from apps.jobs.lifecycle import COSTS_ATTEMPT, HOLDING_SLOT, OUTCOMES, TRANSITIONS, WAITING, Ending, Move, State
from apps.migrations import lifecycle as migrations
from opsplatform import asyncapi

STEP = "python manage.py docs"
# A member of an enumeration with its comment: the comment is the member's meaning, written where it is defined.
MEMBER = re.compile(r'^    [A-Z_]+ = "(?P<value>[a-z_]+)"(?:\s+# (?P<meaning>.+))?$', re.MULTILINE)


class Command(BaseCommand):
    """Write the generated documents, or say which are out of step."""

    help = "Write docs/lifecycles/, openapi.yaml and asyncapi.yaml; with --check, say which is out of step."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Add --check."""
        parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a file is out of step")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write or check each document."""
        stale = []
        for name, make in DOCUMENTS.items():
            path, text = Path(settings.BASE_DIR) / name, make()
            if path.is_file() and path.read_text(encoding="utf-8") == text:
                continue
            if options["check"]:
                stale.append(name)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            self.stdout.write(f"wrote {name}")
        if stale:
            raise CommandError(f"out of step with the code: {', '.join(stale)}; run `{STEP}`", returncode=1)


def openapi() -> str:
    """Return the API's description as YAML; raise `CommandError` where a view is not described well enough."""
    GENERATOR_STATS.reset()
    schema = SchemaGenerator().get_schema(request=None, public=True)
    if GENERATOR_STATS:
        raise CommandError("the API's description is incomplete; `manage.py spectacular --validate` says where")
    text: bytes = OpenApiYamlRenderer().render(schema, renderer_context={})
    return f"# Written by `{STEP}`; served at /operations/schema.\n{text.decode()}"


LIFE_OF_A_JOB = """\
# The life of a job

Written by `{step}` from `apps/jobs/lifecycle.py`, which alone decides it.
A move is one guarded UPDATE that names the state and the fence it leaves. The table is whole from the
start; some of its moves are made by features that are not there yet (see the README).

```mermaid
{diagram}
```

## States

{states}

## Moves

{moves}

## How a dispatch ends, and what follows

A dispatch is a fence. A lost worker is a failed attempt, so a job that kills its workers stops after its attempts.

{endings}
"""


def life_of_a_job() -> str:
    """Return the page drawn from the transition table."""
    meanings = _meanings(State)
    return LIFE_OF_A_JOB.format(
        step=STEP,
        diagram=_diagram(),
        states=_table(
            ("state", "kind", "meaning, and who brings it out"),
            [(f"`{state}`", _kind(state), meanings[state]) for state in State],
        ),
        moves=_table(
            ("move", "from", "to"), [(f"`{move}`", _sources(move), f"`{TRANSITIONS[move].target}`") for move in Move]
        ),
        endings=_table(
            ("ending", "costs an attempt", "with attempts left", "at the last", "for good", "meaning"),
            [_ending(ending) for ending in Ending],
        ),
    )


def _diagram() -> str:
    """Return a Mermaid state diagram; a move that every unfinished state allows is drawn once, from their frame."""
    unfinished = frozenset(State) - lifecycle.TERMINAL
    inner: list[str] = []
    outer: list[str] = []
    for move, (sources, target) in TRANSITIONS.items():
        if sources == unfinished:
            outer.append(f"    unfinished --> {target} : {move}")
            continue
        for source in (state for state in State if state in sources):
            inside = source in unfinished and target in unfinished
            (inner if inside else outer).append(f"    {source} --> {target} : {move}")
    framed = ["    state unfinished {", *(f"    {line}" for line in inner), "    }"]
    return "\n".join(["stateDiagram-v2", *framed, *outer])


def _kind(state: State) -> str:
    if state in OUTCOMES:
        return "outcome"
    if state in HOLDING_SLOT:
        return "holds a slot"
    return "waits" if state in WAITING else ""


def _sources(move: Move) -> str:
    sources = TRANSITIONS[move].sources
    if sources == frozenset(State) - lifecycle.TERMINAL:
        return "every unfinished state"
    return " ".join(f"`{state}`" for state in State if state in sources)


def _ending(ending: Ending) -> tuple[str, ...]:
    def then(*, attempt: int, permanent: bool = False) -> str:
        return f"`{lifecycle.after_ending(ending, attempt=attempt, max_attempts=3, permanent=permanent)}`"

    costs = "yes" if ending in COSTS_ATTEMPT else "no"
    follows = (then(attempt=1), then(attempt=3), then(attempt=1, permanent=True))
    return f"`{ending}`", costs, *follows, _meanings(Ending)[ending]


LIFE_OF_A_MIGRATION = """\
# The life of a migration

Written by `{step}` from `apps/migrations/lifecycle.py`, which alone decides it.
What a migration does next, and what its waves, targets and steps go through meanwhile, is decided in
`apps/migrations/campaign.py`; for operators: [migrations](../migrations.md).

```mermaid
{diagram}
```

## States

{states}

## Moves

{moves}

## Its targets

{targets}

## Their steps

{steps}

## Its waves

{waves}
"""


def life_of_a_migration() -> str:
    """Return the page drawn from the transition table."""
    states, moves = _meanings(migrations.State), _meanings(migrations.Move)
    sources = {
        move: [state for state in migrations.State if state in made.sources]
        for move, made in migrations.TRANSITIONS.items()
    }
    target = {move: made.target for move, made in migrations.TRANSITIONS.items()}
    drawn = [f"    {source} --> {target[move]} : {move}" for move in sources for source in sources[move]]
    return LIFE_OF_A_MIGRATION.format(
        step=STEP,
        diagram="\n".join(["stateDiagram-v2", "    [*] --> draft", *drawn]),
        states=_table(
            ("state", "kind", "meaning"),
            [(f"`{state}`", _kind_of_migration(state), states[state]) for state in migrations.State],
        ),
        moves=_table(
            ("move", "from", "to", "meaning"),
            [
                (f"`{move}`", " ".join(f"`{state}`" for state in sources[move]), f"`{target[move]}`", moves[move])
                for move in migrations.Move
            ],
        ),
        targets=_listed(migrations.TargetState),
        steps=_listed(migrations.StepState),
        waves=_listed(migrations.WaveState),
    )


def _kind_of_migration(state: migrations.State) -> str:
    if state in migrations.OVER:
        return "over"
    if state in migrations.STOPPED:
        return "stands still"
    return "under way" if state in migrations.ACTIVE else "before it begins"


def _listed(kind: type[StrEnum]) -> str:
    return _table(("state", "meaning"), [(f"`{state}`", meaning) for state, meaning in _meanings(kind).items()])


def _meanings(kind: type[StrEnum]) -> dict[str, str]:
    """Return what the comments beside an enumeration's members say."""
    found = MEMBER.finditer(inspect.getsource(kind))
    return {match["value"]: match["meaning"] or "" for match in found}


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|" for cells in lines)


DOCUMENTS: dict[str, Callable[[], str]] = {
    "docs/lifecycles/job.md": life_of_a_job,
    "docs/lifecycles/migration.md": life_of_a_migration,
    "docs/openapi.yaml": openapi,
    "docs/asyncapi.yaml": lambda: asyncapi.text(step=STEP),
}
