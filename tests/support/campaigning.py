"""Migrations brought to where a test needs them, by the operations that bring them there in life."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from apps.jobs.lifecycle import Ending
from apps.migrations import queries
from apps.migrations.definition import (
    Batch,
    Definition,
    Gates,
    Kind,
    OnFailure,
    Phase,
    Risk,
    Stall,
    TargetKind,
    Targets,
)
from apps.migrations.definition import Step as DefinedStep
from apps.migrations.lifecycle import StepState, TargetState
from apps.migrations.models import Migration, Step, Target, Wave
from apps.migrations.operations import asking, drills, moving, planning, steps, targets
from apps.migrations.operations.planning import Plan, Planned, SetAside
from apps.tenancy.context import across_tenants, in_tenant
from tests.support.work import claimed, finish, worker

SUM = "sha256:" + "ab" * 32
OTHER_SUM = "sha256:" + "cd" * 32
AUTHOR = "ada"


def step(name: str, phase: str = "expand", **more: Any) -> DefinedStep:
    """Return a step that is a job which does nothing, and another that takes it back."""
    way = {"job_type": "ops.noop", "revert_job_type": "ops.noop", "undoes": True}
    values: dict[str, Any] = {"kind": Kind.JOB, "number": 0, "checksum": SUM, **way, **more}
    return DefinedStep(name=name, phase=Phase(phase), **values)


def definition(*made: DefinedStep, **more: Any) -> Definition:
    """Return a definition of tenants' crm from 1.4 to 1.5, as its folder would have it."""
    chosen = made or (step("add"), step("fill", "backfill", batch=Batch()), step("drop", "contract", undoes=False))
    numbered = [
        DefinedStep(**{**{name: getattr(each, name) for name in each.__slots__}, "number": n})
        for n, each in enumerate(chosen)
    ]
    values: dict[str, Any] = {
        "name": "crm", "module": "crm", "version_from": "1.4", "version_to": "1.5", "description": "A region",
        "risk": Risk.LOW, "targets": Targets(kind=TargetKind.TENANT), "parallel": 2, "waves": [{"count": 1}],
        "gates": Gates(bake_s=0), "on_failure": OnFailure.PAUSE, "stall": Stall(), "checksum": SUM,
        "folder": Path("crm"), **more,
    }  # fmt: skip
    return Definition(steps=numbered, **values)


def plan(*waves: Sequence[str], aside: Sequence[str] = (), approvals: int = 0, **more: Any) -> Plan:
    """Return a plan of these waves; whoever stands `aside` has a drifted schema."""
    document = {"targets": sum(map(len, waves)), "waves": [list(wave) for wave in waves]}
    values: dict[str, Any] = {"document": document, "checksum": SUM, "risk": Risk.LOW, **more}
    return Plan(
        approvals=approvals,
        waves=[[Planned(key, key, "1.4", SUM) for key in wave] for wave in waves],
        set_aside=[SetAside(key, key, "schema_differs", "1.4", OTHER_SUM, ["column customers.nick"]) for key in aside],
        **values,
    )


def requested(of: Definition, *, account: str = "acme", by: str = AUTHOR, **more: Any) -> Migration:
    """Ask for a migration in its account's context, as the web process does."""
    values: dict[str, Any] = {
        "targets": {"tenants": "*"}, "waves": None, "dry_run": False, "drill": False, "baseline": False,
        "expected_plan": None, **more,
    }  # fmt: skip
    with in_tenant(account):
        return asking.request(definition=of, tenant_id=account, by=by, **values)


class Campaign:
    """A migration, and the loops' role to carry it on in."""

    def __init__(
        self, *, migration: Migration, of: Definition, control: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self.id: UUID = migration.id
        self.account: str = migration.tenant_id
        self.definition = of
        self._control = control

    def laid(self, *waves: Sequence[str], **more: Any) -> Campaign:
        """Lay its plan."""
        self.by_itself(planning.lay, plan(*(waves or (["acme"], ["globex"])), **more), definition=self.definition)
        return self

    def started(self, *waves: Sequence[str], **more: Any) -> Campaign:
        """Lay its plan and begin it."""
        self.laid(*waves, **more)
        assert self.by_itself(planning.start)
        return self

    def by_itself(self, operation: Callable[..., Any], *values: Any, **more: Any) -> Any:
        """Carry an operation out as the migrator does; it is told which migration where it asks for that."""
        if operation in {planning.lay, planning.refuse}:
            more["migration_id"] = self.id
        elif operation.__module__ in {drills.__name__, moving.__name__, planning.__name__} or operation in {
            targets.try_again, targets.up_again, targets.back_again, targets.let_go, steps.look, steps.stalled,
        }:  # fmt: skip
            values = (self.id, *values)
        with self._control():
            return operation(*values, **more)

    def ask(self, operation: Callable[..., Migration], *, by: str = "grace", **more: Any) -> Migration:
        """Ask what a person asks, in the account's context."""
        with in_tenant(self.account):
            return operation(migration_id=self.id, by=by, **more)

    def row(self) -> Migration:
        """Return it as it is."""
        with in_tenant(self.account):
            return Migration.objects.get(id=self.id)

    def target(self, key: str) -> Target:
        """Return a target as it is."""
        with self._control():
            return Target.objects.get(migration_id=self.id, key=key)

    def step(self, key: str, name: str) -> Step:
        """Return a step of a target as it is."""
        with self._control():
            return Step.objects.get(migration_id=self.id, target__key=key, name=name)

    def wave(self, number: int = 0) -> Wave:
        """Return a wave as it is."""
        with self._control():
            return Wave.objects.get(migration_id=self.id, number=number)

    def states(self) -> dict[str, str]:
        """Return target → state, with its steps' after it."""
        with self._control():
            found = Target.objects.filter(migration_id=self.id)
            return {
                each.key: " ".join([each.state, *Step.objects.filter(target=each).values_list("state", flat=True)])
                for each in found
            }

    def view(self) -> Any:
        """Return it as `campaign.decide` sees it."""
        with self._control():
            return queries.view(self.id, definition=self.definition)


def ended(job_id: UUID | None, ending: Ending = Ending.SUCCEEDED, **more: Any) -> None:
    """Have a worker run a job to this end; for the loops' role."""
    assert job_id is not None
    failing = {} if ending is Ending.SUCCEEDED else {"permanent": True, **more}
    assert finish(claimed(job_id, worker_id=worker()), ending, **failing)


def put(campaign: Campaign, key: str, state: TargetState, *steps: StepState) -> None:
    """Bring a target where a test needs it."""

    def do() -> None:
        rows = Target.objects.filter(migration_id=campaign.id, key=key)
        rows.update(state=state)
        for number, each in enumerate(steps):
            Step.objects.filter(target__in=rows, number=number).update(state=each, run=1)

    campaign.by_itself(do)


def bring(campaign: Campaign, number: int, **values: Any) -> None:
    """Bring a wave where a test needs it."""
    campaign.by_itself(lambda: Wave.objects.filter(migration_id=campaign.id, number=number).update(**values))


class _Killed(BaseException):
    """The process ended here."""


@contextmanager
def killed_before_commit() -> Iterator[None]:
    """Do what is inside in a transaction whose process is killed before it commits."""
    with suppress(_Killed), transaction.atomic():
        yield
        raise _Killed


def at_once(*doing: Callable[[], Any]) -> list[Any]:
    """Do all of it at the same moment, on a connection each; return what came of each, or the error it raised."""
    found: list[Any] = [None] * len(doing)
    start = threading.Barrier(len(doing))

    def run(place: int) -> None:
        try:
            start.wait(timeout=10)
            found[place] = doing[place]()
        except Exception as error:  # noqa: BLE001 - looked at by the test
            found[place] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(doing))]
    for each in threads:
        each.start()
    for each in threads:
        each.join(timeout=30)
    assert not any(each.is_alive() for each in threads)
    return found


def alone(operation: Callable[[], Any]) -> Callable[[], Any]:
    """Return an operation that opens the context of the loops by itself, for a thread of its own."""

    def run() -> Any:
        with across_tenants():
            return operation()

    return run
