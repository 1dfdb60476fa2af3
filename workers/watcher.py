"""The watcher: looks every two seconds who lives, and sees to it that something is done about who does not.

One thread looks and writes; what may take its time (a probe, a message to the broker, a recovery action) is done by
threads that speak to one place each, and what came of it is written at a later look. So nobody who hangs can keep the
watcher from looking. It judges others by what PostgreSQL holds, and first itself: whether it was away, or is deaf.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

import structlog
from django.db import Error, connection

from apps.core import metrics
from apps.core.database import clock
from apps.health import actions, queries
from apps.health.actions import ActionFailedError, Facts, Order, UnknownActionError
from apps.health.lifecycle import Flip
from apps.health.operations import canaries, impacts, inventory, looking, probing, recovery, upkeep, watch
from apps.health.operations.inventory import Inventory, Queue
from apps.health.operations.probing import Answer
from apps.health.trust import Ears
from apps.jobs import liveness
from apps.jobs.liveness import Beat
from apps.jobs.operations import shedding
from apps.tenancy.context import across_tenants
from workers import canary, loop, probes

log = structlog.get_logger(__name__)

LOOK_EVERY_S: Final = 2.0  # beyond a lease of 15 s: within 20 s with a look to spare
NOTE_EVERY_S: Final = 5.0
INVENTORY_EVERY_S: Final = 15.0
UPKEEP_EVERY_S: Final = 60.0
PROBES_AT_ONCE, ERRANDS_AT_ONCE = 8, 4
LAST_WORDS_S: Final = 5.0


class Acted(NamedTuple):
    """What came of a recovery action: its facts, or the code by which it could not be done."""

    facts: Facts | None
    code: str = ""


class Watcher:
    """One process's state between looks: its threads, what they are at, and when it last did what it does seldom."""

    def __init__(self, *, app: Any, consists_of: Callable[[], Inventory]) -> None:
        self._app = app
        self._consists_of = consists_of
        self._queues: Sequence[Queue] = ()
        self._asking = ThreadPoolExecutor(max_workers=PROBES_AT_ONCE, thread_name_prefix="probes")
        self._errands = ThreadPoolExecutor(max_workers=ERRANDS_AT_ONCE, thread_name_prefix="errands")
        self._probes: dict[Future[Answer], UUID] = {}
        self._canaries: dict[Future[bool], UUID] = {}
        self._orders: dict[Future[Acted], UUID] = {}
        self._away_since: float | None = None
        self._done_at: dict[str, float] = {}
        self._leads = False

    def run(self) -> None:
        """Watch until SIGTERM."""
        with across_tenants():
            loop.run(role="watcher", step=self.step, away=self.away)
            self.close()

    def step(self) -> float:
        """Look once; return the seconds to rest."""
        began = time.monotonic()
        self._look()
        self._leads = True
        return max(0.0, LOOK_EVERY_S - (time.monotonic() - began))

    def away(self) -> None:
        """Remember since when the database is away, to say so afterwards: since the last look, about."""
        self._away_since = self._away_since or time.monotonic()

    def close(self) -> None:
        """Begin nothing more; write what came of what is over, and that the watcher left in order."""
        wait(self._orders, timeout=LAST_WORDS_S)
        wait(self._canaries, timeout=LAST_WORDS_S)
        try:
            self._settle()
            if self._leads:
                watch.leave()
        except Error as error:
            log.warning("watcher_left_without_database", error=type(error).__name__)
        for pool in (self._asking, self._errands):
            pool.shutdown(wait=False, cancel_futures=True)

    def _look(self) -> None:
        asked = time.monotonic()
        since = watch.since_look()
        answered_ms = (time.monotonic() - asked) * 1000
        if self._due("inventory", every_s=INVENTORY_EVERY_S):
            consists_of = self._consists_of()
            self._queues = consists_of.queues
            inventory.keep(consists_of)
        own = looking.own_parts()
        beats = liveness.beats(known=looking.known_processes(own))
        found = looking.parts(own, beats=beats)
        reporters, tenants = watch.reporters()
        ears = Ears(since, looking.late(found), reporters, looking.door_open(own), tenants)
        trusted, at = watch.mark(ears)
        self._database(answered_ms)
        flips = [(f"operations/{part.name}", flip) for part in found for flip in looking.judge(part, trusted=trusted)]
        flips += [(str(row), flip) for row, flip in looking.clock(trusted=trusted)]
        noted = self._due("note", every_s=NOTE_EVERY_S)
        if noted:
            self._note(beats)
        if noted or flips:
            looking.mute()
        self._settle()
        self._fly(trusted=trusted)
        self._ask()
        self._recover(trusted=trusted, at=at)
        if self._due("upkeep", every_s=UPKEEP_EVERY_S):
            upkeep.purge()
        _say(flips)

    def _database(self, answered_ms: float) -> None:
        """Say that the database answers; after an outage, since when it had not."""
        away_since = None
        if self._away_since is not None:
            away_since = clock() - timedelta(seconds=time.monotonic() - self._away_since)
        if away_since is not None or self._due("database", every_s=NOTE_EVERY_S):
            looking.database(latency_ms=answered_ms, away_since=away_since)
            self._away_since = None

    def _note(self, beats: Sequence[Beat]) -> None:
        looking.broker()
        for component_id, pool in impacts.bad_pools():
            impacts.note(component_id, jobs=liveness.unfinished(environment=pool))
        impacts.clear()
        metrics.components_stand(queries.by_status())
        for beat in beats:
            if beat.lives:
                metrics.heartbeat_seen(age_s=beat.age_s, role=beat.role)

    def _fly(self, *, trusted: bool) -> None:
        """Judge each queue's canary under way, and let the next one go where it is due and the broker is there."""
        found = canaries.last(self._queues)
        away = looking.broker_away()
        for queue in self._queues:
            newest = found.get(queue.queue)
            if newest is not None:
                newest = canaries.settle(queue, newest=newest, trusted=trusted and not away)
            if canaries.due(newest) and not away:
                pool = queue.environment
                if trusted and pool is not None and canaries.deaf(queue=queue.queue, environment=pool):
                    looking.deaf(pool)
                canary_id = canaries.release(queue)
                sent = self._errands.submit(canary.send, self._app, canary_id=canary_id, queue=queue.queue)
                self._canaries[sent] = canary_id

    def _ask(self) -> None:
        for probe in probing.claim(limit=PROBES_AT_ONCE - len(self._probes)):
            self._probes[self._asking.submit(probes.ask, probe)] = probe.component_id

    def _recover(self, *, trusted: bool, at: datetime) -> None:
        recovery.prove(at=at, trusted=trusted)
        if shedding.in_force() and not recovery.shed_wanted(at=at):
            shedding.let_go()
        if not trusted:
            return  # what seems broken may not be, and repairing it would break it
        for order in recovery.begin(at=at):
            log.warning("recovery", action=order.action, component=f"{order.module}/{order.component}", by=order.by)
            self._orders[self._errands.submit(act, order)] = order.receipt_id

    def _settle(self) -> None:
        """Write what came of what the threads were at."""
        for sent in [each for each in self._canaries if each.done()]:
            canaries.sent(self._canaries.pop(sent), taken=sent.result())
        for asked in [each for each in self._probes if each.done()]:
            probing.settle(self._probes.pop(asked), answer=asked.result())
        for done in [each for each in self._orders if each.done()]:
            receipt_id, acted = self._orders.pop(done), done.result()
            if acted.facts is None:
                recovery.failed(receipt_id, code=acted.code)
            else:
                recovery.acted(receipt_id, facts=acted.facts)

    def _due(self, what: str, *, every_s: float) -> bool:
        moment = time.monotonic()
        if moment - self._done_at.get(what, float("-inf")) < every_s:
            return False
        self._done_at[what] = moment
        return True


def act(order: Order) -> Acted:
    """Do what an order says, over a connection of this thread's own; return what came of it, whatever that is."""
    try:
        with across_tenants():
            return Acted(actions.named(order.action)(order))
    except ActionFailedError as error:
        return Acted(None, str(error))
    except UnknownActionError:
        return Acted(None, "unknown_action")
    except Exception as error:
        log.exception("recovery_broke", action=order.action)
        return Acted(None, type(error).__name__)
    finally:
        connection.close()


def _say(flips: Sequence[tuple[str, Flip]]) -> None:
    for name, flip in flips:
        log.info("flip", component=name, old=flip.old.value, new=flip.new.value, reason=flip.reason)
