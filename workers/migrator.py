"""The migrator: plans migrations and carries them on, a look at each every quarter second.

One thread looks, decides (`apps.migrations.campaign`) and writes; what asks others (a plan, a target's version, a
check) is done by threads of its own that touch nothing of the plane's database, and what came of it is written at a
later look. Nothing is remembered that is not in the rows: killed anywhere, the next look goes on.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from uuid import UUID

import structlog
from django.db import InterfaceError, OperationalError

from apps.core.authzen import DecisionPointAwayError
from apps.core.database import clock
from apps.migrations import campaign, queries, registry
from apps.migrations.definition import Definition
from apps.migrations.lifecycle import IllegalMoveError, State
from apps.migrations.models import Migration
from apps.migrations.operations import drills, moving, planning, steps, targets
from apps.migrations.operations.writing import ChangedMeanwhileError
from apps.migrations.queries import Active
from apps.tenancy.context import across_tenants
from workers import loop
from workers.migrations import judging, plans
from workers.migrations.errands import Errands
from workers.migrations.figures import Figures
from workers.migrations.readings import Readings
from workers.migrations.verdicts import Verdicts

log = structlog.get_logger(__name__)

LOOK_EVERY_S: Final = 0.25
IDLE_S: Final = 1.0
AT_ONCE: Final = 6
# How long the old version may still be reported before a person is asked.
HOLD_PATIENCE_S: Final = 600.0
# A defect of ours pauses the campaign that met it, and leaves the others alone. What asks others hears of it in every
# other look, or more seldom: so they are in a row until some time was without any.
MOST_DEFECTS: Final = 5
CALM_S: Final = 120.0
NONE_MET: Final = (0, 0.0)


class Migrator:
    """One process's state between looks: its threads and what they are at."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="migrations")
        self._errands = Errands(self._pool)
        self._plans = plans.Plans(self._errands)
        self._readings = Readings(self._errands)
        self._verdicts = Verdicts(self._errands)
        self._figures = Figures()
        self._defects: dict[UUID, tuple[int, float]] = {}

    def run(self) -> None:
        """Carry migrations on until SIGTERM."""
        loop.run(role="migrator", step=self.step)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def step(self) -> float:
        """Look once; return the seconds to rest."""
        with across_tenants():
            planning_now = self._plans.look()
            active = queries.unfinished()
            self._figures.tell()
        for each in active:
            self._carry_on(each)
        return LOOK_EVERY_S if active or planning_now else IDLE_S

    def _carry_on(self, active: Active) -> None:
        """Look at one campaign; a defect that it meets is its own."""
        try:
            self._look_at(active)
            _, met_at = self._defects.get(active.migration_id, NONE_MET)
            if time.monotonic() - met_at > CALM_S:
                self._defects.pop(active.migration_id, None)
        except (IllegalMoveError, ChangedMeanwhileError):
            pass  # somebody moved it meanwhile: the next look decides anew
        except DecisionPointAwayError as error:
            log.warning("decision_point_away", point=error.point, migration=str(active.migration_id))
        except (OperationalError, InterfaceError):
            raise  # the database is away, for all of them
        except Exception:  # noqa: BLE001 - logged with its trace, and five in a row pause the campaign
            self._failed(active)

    def _failed(self, active: Active) -> None:
        log.exception("migration_failed_inside", migration=str(active.migration_id))
        met = self._defects.get(active.migration_id, NONE_MET)[0] + 1
        self._defects[active.migration_id] = met, time.monotonic()
        if met >= MOST_DEFECTS:
            self._defects.pop(active.migration_id)
            with across_tenants():
                moving.give_up(active.migration_id, code="internal_error", why="a defect of the plane: see its log")

    def _look_at(self, active: Active) -> None:
        migration_id = active.migration_id
        if active.status is State.AWAITING_APPROVAL:
            with across_tenants():
                planning.start(migration_id)
            return
        with across_tenants():
            migration = Migration.objects.get(id=migration_id)
        if active.status is State.ABORTING:
            self._stop_what_runs(migration)
            return
        with across_tenants():
            definition = self._definition(migration)
        if definition is None:
            self._stop_what_runs(migration)
            return
        with across_tenants():
            if active.status is State.REVERTING and not moving.hold_again(migration_id):
                return
            moving.carry_out(migration_id)
            steps.look(migration_id)
            steps.stalled(migration_id, definition=definition)
            view = queries.view(migration_id, definition=definition)
        for action in campaign.decide(view):
            self._do(action, migration=migration, definition=definition)

    def _stop_what_runs(self, migration: Migration) -> None:
        """Stop what an abort or a pause has to; nobody has to know the definition for that, and it may be gone."""
        with across_tenants():
            steps.look(migration.id)
            view = queries.view(migration.id, definition=None)
        for action in campaign.decide(view):
            if isinstance(action, campaign.Stop):
                steps.stop(action.step_id, why=f"its migration is {view.status.value}")
            elif isinstance(action, campaign.Abandon):
                with across_tenants():
                    moving.abandon(migration.id)

    def _definition(self, migration: Migration) -> Definition | None:
        """Return the definition that the plan was made of; a campaign that has lost it stops where it stands."""
        try:
            found = registry.find(
                name=migration.name, version_to=migration.version_to, version_from=migration.version_from
            )
        except (registry.UnknownDefinitionError, registry.BadDefinitionError) as error:
            lost = str(error)
        else:
            if found.checksum == migration.definition_checksum:
                return found
            lost = "its folder is not the one that the plan was made of"
        moving.give_up(migration.id, code="definition_changed", why=lost)
        return None

    def _do(self, action: campaign.Action, *, migration: Migration, definition: Definition) -> None:
        """Carry one action out."""
        match action:
            case campaign.Submit(step_id, direction):
                if direction == campaign.UP:
                    self._past_return(migration)
                steps.begin(step_id, direction=direction, definition=definition)
            case campaign.Stop(step_id):
                steps.stop(step_id, why=f"its migration is {migration.status.replace('_', ' ')}")
            case campaign.Begin(target_id, back=False):
                with across_tenants():
                    self._readings.begin(target_id, migration=migration, definition=definition)
            case campaign.Verify(target_id, back):
                with across_tenants():
                    self._readings.verify(target_id, back=back, migration=migration, definition=definition)
            case campaign.BeginWave(number, contract):
                with across_tenants():
                    self._begin_wave(number, contract=contract, migration=migration, definition=definition)
            case campaign.Judge(number):
                self._verdicts.judge(number, migration=migration, definition=definition)
            case _:
                with across_tenants():
                    self._write(action, migration_id=migration.id, definition=definition)

    def _past_return(self, migration: Migration) -> None:
        """Note, before it is done, that what a contract step takes away does not come back."""
        if migration.stage == "contract" and migration.contract_begun_at is None:
            with across_tenants():
                moving.contract(migration.id)

    def _begin_wave(self, number: int, *, contract: bool, migration: Migration, definition: Definition) -> None:
        old = judging.old_versions(definition) if contract else []
        if old:
            moving.hold_wave(migration.id, number=number, by=old, patience_s=HOLD_PATIENCE_S)
            return
        facts = judging.before(definition, migration=migration, number=number, now=clock())
        moving.begin_wave(migration.id, number=number, facts=facts)

    def _write(self, action: campaign.Action, *, migration_id: UUID, definition: Definition) -> None:
        match action:
            case campaign.Skip(step_id):
                steps.skip(step_id)
            case campaign.Begin(target_id):
                targets.begin(target_id, back=True)
            case campaign.FailTarget(target_id, code, back):
                targets.failed(target_id, back=back, code=code)
            case campaign.Bake(number):
                moving.bake(migration_id, number=number)
            case campaign.FailWave(number, code):
                why = queries.why_failed(migration_id, wave=number)
                moving.fail_wave(migration_id, number=number, code=code, then=definition.on_failure, why=why)
            case campaign.DrillDown(number):
                drills.down(migration_id, number=number)
            case campaign.DrillAgain(number):
                drills.again(migration_id, number=number)
            case campaign.Contract():
                moving.begin_contract(migration_id)
            case campaign.Complete():
                moving.complete(migration_id)
            case campaign.Abandon():
                moving.abandon(migration_id)
            case campaign.ComeBack(stuck):
                moving.come_back(migration_id, stuck=stuck)
            case _:
                raise TypeError(f"nobody knows how to carry out {action!r}")


def main() -> None:
    """Carry migrations on until SIGTERM."""
    Migrator().run()
