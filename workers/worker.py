"""A Celery worker as a holder of leases: registers before it forks, beats while it lives, hands back when it stops.

Connected to Celery's signals by `install`. The lease is the whole process tree's: its parent renews it, and answers for
children that die: their jobs are handed back at once instead of when the lease would run out.

SIGTERM is Celery's warm shutdown: no further message is taken, what runs may finish. Celery would wait for it without
end, and its soft shutdown sleeps through its whole time-out with the consumer blocked (5.7.0). So the grace time is
kept here: whoever is not done by then is ended and handed back, at the cost of no attempt.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import Any
from uuid import UUID

import psutil
import structlog
from celery import signals
from celery.worker import WorkController
from celery.worker import state as celery_state
from django.db import Error, connection

from apps.health.operations import orders
from apps.jobs.models import Environment
from apps.jobs.operations import recover
from apps.jobs.types import REGISTRY
from apps.jobs.versions import versions_of
from apps.tenancy import keys
from apps.tenancy.context import across_tenants
from workers import canary
from workers.execute import WORKER_ID_VARIABLE
from workers.heart import Heart
from workers.message import ForgedMessageError, check
from workers.policies import retry_of

log = structlog.get_logger(__name__)


GRACE_S = 20.0


class Worker:
    """The parent process's own state: its heart and its pool."""

    def __init__(self) -> None:
        self._heart: Heart | None = None
        self._controller: WorkController | None = None

    def on_init(self, sender: WorkController, **_: Any) -> None:
        """Before the pool forks: take a lease. Without one no child could claim, so a dead database ends the worker."""
        queues = sorted(sender.app.amqp.queues.consume_from)
        try:
            with across_tenants():
                environment = Environment.objects.filter(queue__in=queues).values_list("name", flat=True).first()
            self._heart = Heart(
                role="worker",
                name=sender.hostname,
                environment=environment,
                capacity=sender.concurrency if environment else 0,
                versions=versions_of(REGISTRY),
                on_beat=self.look_after_children,
                on_fenced=self.die,
            )
            self._heart.register()
        except Error as error:
            log.critical("worker_without_lease", error=type(error).__name__)
            raise SystemExit(1) from error
        finally:
            connection.close()
        os.environ[WORKER_ID_VARIABLE] = str(self._heart.process_id)
        self._controller = sender

    def on_ready(self, **_: Any) -> None:
        """The pool is forked: begin to beat, in the parent only."""
        if self._heart is not None:
            self._heart.start()

    def on_task_failure(self, sender: Any, args: Any = None, **_: Any) -> None:
        """In the parent: a child died or was killed under a task. Hand its job back now.

        The arguments came through the broker: unchecked, whoever can write there could end anybody's running job by a
        message that names it and is sure to die.
        """
        if self._heart is None or os.environ.get("OPS_POOL_CHILD") or not args or sender.name == canary.TASK:
            return
        try:
            message = check(task=sender.name, args=list(args), key=keys.message_key())
            with across_tenants():
                lost = recover.hand_back_of_dead_child(
                    message.dispatches, stopping=self._is_stopping, retry_of=retry_of
                )
        except ForgedMessageError as error:
            log.error("message_forged", task=sender.name, detail=str(error))  # noqa: TRY400 - the trace says nothing more
        except Error as error:
            # The beat looks again in at most five seconds.
            log.warning("child_died", error=type(error).__name__)
            connection.close()
        else:
            log.warning("child_died", task=sender.name, handed_back=len(lost))

    def look_after_children(self) -> None:
        """At each beat: hand back what ran in processes that are no more, and kill those that run what was ended."""
        if self._heart is None or self._is_stopping:  # the processes of a stopping worker are ended by itself
            return
        with across_tenants():
            lost = recover.hand_back_of_dead_children(
                worker_id=self._heart.process_id, living_pids=self._children(), retry_of=retry_of
            )
            lost |= recover.hand_back_of_nobody(
                worker_id=self._heart.process_id, running=list(_running_dispatches()), retry_of=retry_of
            )
        if lost:
            log.warning("children_gone", handed_back=len(lost))
        self._kill_the_deaf()
        self._obey()

    def _obey(self) -> None:
        """End in order where the plane ordered so; whoever supervises this worker starts it afresh.

        This thread lives where the consumer may not: so it begins the grace time itself, and does not rely on the main
        thread's hearing the signal.
        """
        if self._heart is None:
            return
        reason = orders.obey(process_id=self._heart.process_id)
        if reason is not None:
            log.warning("restart_ordered", reason=reason)
            self.on_stopping()
            os.kill(os.getpid(), signal.SIGTERM)

    def _kill_the_deaf(self) -> None:
        """Kill each process that still runs a dispatch which the plane ended over its head; the pool replaces it.

        Whom to kill is Celery's own knowledge, of this moment: a process that has gone on to another job meanwhile is
        no longer the one of the ended dispatch.
        """
        running = _running_dispatches()
        if not running:
            return
        ended = recover.forced(list(running))
        for dispatch in ended:
            pid = _running_dispatches().get(dispatch)
            if pid is None:
                continue
            log.warning("child_killed", job_id=str(dispatch[0]), fence=dispatch[1], pid=pid)
            _kill_tree(pid)

    def on_stopping(self, **_: Any) -> None:
        """SIGTERM came: claim nothing more, and see to it that the rest ends in time. Called in a signal handler."""
        if self._heart is None or self._is_stopping:
            return
        self._heart.state = "draining"
        self._heart.nudge()
        threading.Thread(target=self._end_in_time, name="grace", daemon=True).start()

    def on_stopped(self, **_: Any) -> None:
        """The pool is gone: give back what it could not finish, and the lease."""
        if self._heart is None:
            return
        try:
            with across_tenants():
                handed = recover.hand_back_of_stopping(worker_id=self._heart.process_id, retry_of=retry_of)
            log.info("worker_stopped", handed_back=len(handed))
        except Error as error:
            log.warning("worker_stopped_without_database", error=type(error).__name__)
        self._heart.stop()

    def _end_in_time(self) -> None:
        """Wait out the grace time; if the worker still lives then, end its processes and itself."""
        threading.Event().wait(timeout=GRACE_S)
        log.warning("grace_is_over", grace_s=GRACE_S)
        self._kill_children()
        self.on_stopped()
        os._exit(0)

    def die(self) -> None:
        """The lease is another's: end every process of this worker at once. Its supervisor starts a new one."""
        self._kill_children()
        os.kill(os.getpid(), signal.SIGKILL)

    @staticmethod
    def _kill_children() -> None:
        for child in psutil.Process().children(recursive=True):
            child.kill()

    @property
    def _is_stopping(self) -> bool:
        return self._heart is not None and self._heart.state == "draining"

    def _children(self) -> list[int]:
        pool = self._controller.pool if self._controller is not None else None
        return list(pool.info.get("processes", [])) if pool is not None else []


def _running_dispatches() -> dict[tuple[UUID, int], int]:
    """Return what this worker's processes run now: (job_id, fence) → process id. Forged messages are nobody's."""
    found: dict[tuple[UUID, int], int] = {}
    for request in list(celery_state.active_requests):
        if request.worker_pid is None:
            continue
        try:
            message = check(task=request.name, args=list(request.args), key=keys.message_key())
        except ForgedMessageError:
            continue
        found |= dict.fromkeys(message.dispatches, request.worker_pid)
    return found


def _kill_tree(pid: int) -> None:
    """Kill a process and what it started."""
    try:
        child = psutil.Process(pid)
        for each in [*child.children(recursive=True), child]:
            each.kill()
    except psutil.NoSuchProcess:
        return


def on_child_init(**_: Any) -> None:
    """In a pool's child: remember that this is none of the parent's business."""
    os.environ["OPS_POOL_CHILD"] = "1"


def install() -> None:
    """Connect a worker of this process to Celery's signals."""
    worker = Worker()
    signals.worker_init.connect(worker.on_init, weak=False)
    signals.worker_ready.connect(worker.on_ready, weak=False)
    signals.worker_process_init.connect(on_child_init, weak=False)
    signals.task_failure.connect(worker.on_task_failure, weak=False)
    signals.worker_shutting_down.connect(worker.on_stopping, weak=False)
    signals.worker_shutdown.connect(worker.on_stopped, weak=False)
