"""`python`: a function of the definition's folder, given a session in the target's schema and a transaction of ours.

Without batches `def f(connection) -> None`; with them `def f(connection, *, after, limit) -> (next_after, rows)`,
called in a transaction each until it returns None for `next_after`. `after` is what it returned before, a text or a
whole number, or None at first; it is kept in the ledger, so another process may go on with it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

from apps.jobs.types import PermanentError
from apps.migrations.definition import Definition
from workers.migrations import batches, keys
from workers.migrations.batches import Made
from workers.migrations.ledger import Session
from workers.migrations.work import Direction, Work

Function = Callable[..., Any]


class BadFunctionError(PermanentError):
    """The folder has no such function, or it does not keep to what is agreed."""

    default_code = "bad_step"


def run(work: Work) -> None:
    """Do or undo a python step; raises PermanentError or RetryableError, and what the function raises."""
    up = work.direction is Direction.UP
    name = work.step.function if up else work.step.revert_function
    if not up and not work.step.undoes:
        _whole(work, None)
        return
    if name is None:
        raise BadFunctionError("the step has no function")
    function = load(work.definition, name)
    if up and work.step.batch is not None:
        batches.run(work, PythonBatches(function))
    else:
        _whole(work, function)


def load(definition: Definition, name: str) -> Function:
    """Return the function `module:name` of the definition's folder; raises BadFunctionError.

    Loaded under a name of its checksum's: two definitions' `steps.py` are two modules, and so are two texts of one.
    """
    module_name, _, function_name = name.partition(":")
    known = f"_ops_migration_{definition.checksum.rpartition(':')[2]}_{module_name}"
    module = sys.modules.get(known)
    if module is None:
        spec = spec_from_file_location(known, definition.folder / f"{module_name}.py")
        if spec is None or spec.loader is None:
            raise BadFunctionError("the folder has no such module")
        module = module_from_spec(spec)
        sys.modules[known] = module  # before it runs, for what it defines looks there for its own names
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[known]
            raise BadFunctionError(f"the folder's module cannot be loaded: {type(error).__name__}") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise BadFunctionError("the folder's module has no such function")
    return function  # type: ignore[no-any-return]  # just asked


def _whole(work: Work, function: Function | None) -> None:
    def body(connection: Session) -> None:
        with work.unless_done() as standing:
            if standing is not None:
                if function is not None:
                    function(connection)
                work.finish()

    work.transact(body)


class PythonBatches:
    """A function that goes its own way through what it fills."""

    def __init__(self, function: Function) -> None:
        """Take the function."""
        self._function = function

    def total(self, work: Work) -> int | None:
        """Return the rows of the table that the step names, if it names one."""
        batch = work.step.batch
        if batch is None or batch.table is None or batch.key is None:
            return None
        return keys.find(work.connection, schema=work.schema, name=batch.table, key=batch.key).count(work.connection)

    def ready(self, work: Work, *, cursor: str | None) -> None:
        """Wait for nothing: only the function knows for what."""

    def make(self, work: Work, *, cursor: str | None, size: int) -> Made:
        """Call the function once."""
        after = None if cursor is None else json.loads(cursor)
        answer = self._function(work.connection, after=after, limit=size)
        if not isinstance(answer, tuple) or len(answer) != 2:  # noqa: PLR2004 - a pair
            raise BadFunctionError("a batch's function returns where it goes on, and how many rows it went through")
        following, rows = answer
        if not isinstance(rows, int) or isinstance(rows, bool) or rows < 0:
            raise BadFunctionError("a batch's function returns a whole number of rows")
        if following is None:
            return Made(cursor=cursor, done=rows, last=True)
        if isinstance(following, bool) or not isinstance(following, str | int):
            raise BadFunctionError("where a batch's function goes on is a text or a whole number, or None at the end")
        said = json.dumps(following)
        if said == cursor:
            raise BadFunctionError("a batch's function would go on where it began: it would never end")
        return Made(cursor=said, done=rows, last=False)
