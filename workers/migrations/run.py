"""One attempt at one step on one target: is the definition still the plan's, which session, which token, which kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg

from apps.jobs.types import Context, PermanentError
from apps.migrations import registry
from apps.migrations.definition import Definition, Kind
from workers.migrations import django_step, module_step, python_step, sql_step, target
from workers.migrations.ledger import DefinitionChangedError, Ledger, token
from workers.migrations.target import failure
from workers.migrations.work import Direction, Work


def run(ctx: Context, params: Mapping[str, Any]) -> None:
    """Do or undo the step that `params` name (docs/migration-steps.md says their form).

    Raises PermanentError, RetryableError, and what a step's own function raises.
    """
    definition = planned(params["definition"])
    try:
        step = definition.step(params["step"])
    except LookupError:
        raise PermanentError("the definition has no such step", code="bad_step") from None
    if step.kind is Kind.JOB:
        raise PermanentError("a step of kind job is its own job", code="bad_step")
    mine = token(run=params["run"], fence=ctx.fence)
    if step.kind is Kind.MODULE and definition.targets.database is None:
        module_step.call(ctx, definition, params, token=mine)
        return
    place = {"account": params["account"], "tenant_id": ctx.tenant_id, "target": params["target"]}
    with target.connect(definition, **place) as connection:
        schema = target.schema_of(definition, target=params["target"])
        ledger = Ledger(
            schema=schema, migration=params["migration"], step=step.name, checksum=step.checksum, token=mine
        )
        work = Work(
            ctx=ctx,
            definition=definition,
            step=step,
            direction=Direction(params["direction"]),
            schema=schema,
            connection=connection,
            ledger=ledger,
            sets_version=params.get("sets_version"),
        )
        hold(work)
        match step.kind:
            case Kind.SQL:
                sql_step.run(work)
            case Kind.PYTHON:
                python_step.run(work)
            case Kind.DJANGO:
                django_step.run(work, target.dsn_of(definition, account=params["account"], tenant_id=ctx.tenant_id))
            case Kind.MODULE:
                module_step.run(work, params)


def hold(work: Work) -> None:
    """Be the one attempt of this migration's at the target, and have a ledger to write in.

    Raises what the target's error means, FencedOffError where a newer attempt is at work.
    """
    try:
        work.ledger.seize(work.connection, between=work.ctx.checkpoint)
        work.transact(work.ledger.lay)
    except psycopg.Error as error:
        raise failure(error) from error


def planned(said: Mapping[str, str]) -> Definition:
    """Return the definition of the plan; raises PermanentError where this worker's folder has none, or another."""
    try:
        found = registry.find(name=said["name"], version_from=said["from"], version_to=said["to"])
    except (registry.UnknownDefinitionError, registry.BadDefinitionError):
        raise PermanentError("this worker has no such definition", code="definition_missing") from None
    if found.checksum != said["checksum"]:
        raise DefinitionChangedError("this worker's folder of the definition is not the plan's")
    return found
