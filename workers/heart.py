"""The heart of a process: a thread that renews its row in `processes` over a connection of its own."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import structlog
from django.db import Error, connection

from apps.core.ids import uuid7
from apps.jobs.operations.processes import BEAT, BEAT_EVERY_S, LEASE_S, LEAVE, REGISTER, registration

log = structlog.get_logger(__name__)


class Heart:
    """Registers a process, renews its lease every 5 s, says goodbye. `on_fenced` is called if the lease was lost."""

    def __init__(
        self,
        *,
        role: str,
        name: str,
        environment: str | None = None,
        capacity: int = 0,
        versions: Mapping[str, str] | None = None,
        on_beat: Callable[[], None] | None = None,
        on_fenced: Callable[[], None] | None = None,
    ) -> None:
        self.process_id: UUID = uuid7()
        self.state = "live"
        self._facts: dict[str, Any] = registration(
            process_id=self.process_id,
            role=role,
            name=name,
            host=socket.gethostname(),
            pid=os.getpid(),
            environment=environment,
            capacity=capacity,
            versions=versions,
        )
        self._on_beat = on_beat
        self._on_fenced = on_fenced
        self._stop = threading.Event()
        self._nudge = threading.Event()
        self._thread: threading.Thread | None = None

    def register(self) -> None:
        """Write the process's row; raises `django.db.Error` when the database is away."""
        with connection.cursor() as cursor:
            cursor.execute(REGISTER, self._facts)

    def start(self) -> None:
        """Begin to beat, in a daemon thread."""
        self._thread = threading.Thread(target=self._run, name="heart", daemon=True)
        self._thread.start()

    def nudge(self) -> None:
        """Beat now: something changed that the beat's listener should see."""
        self._nudge.set()

    def stop(self) -> None:
        """Stop beating and let the lease go at once, so that nobody waits for it to run out."""
        self._stop.set()
        self._nudge.set()
        if self._thread is not None:
            self._thread.join(timeout=BEAT_EVERY_S)
        try:
            with connection.cursor() as cursor:
                cursor.execute(LEAVE, {"process_id": self.process_id})
        except Error:
            log.warning("lease_not_released", process_id=str(self.process_id))

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                if not self._beat():
                    return
                self._nudge.wait(timeout=BEAT_EVERY_S)
                self._nudge.clear()
        finally:
            connection.close()

    def _tell(self) -> None:
        """Let the listener look after what is its own; a defect of its may not stop the heart."""
        try:
            if self._on_beat is not None:
                self._on_beat()
        except Error:
            raise
        except Exception:
            log.exception("beat_listener_failed")

    def _beat(self) -> bool:
        """Renew the lease; return whether to go on. A database that is away is asked again at the next beat."""
        values: dict[str, Any] = {"process_id": self.process_id, "state": self.state, "lease_s": LEASE_S}
        try:
            with connection.cursor() as cursor:
                cursor.execute(BEAT, values)
                renewed = cursor.rowcount == 1
            if renewed:
                self._tell()
                return True
            if self._on_fenced is None:
                # Only a worker holds anything under its lease; any other process just comes back under a new row.
                self.process_id = uuid7()
                self._facts = {**self._facts, "process_id": self.process_id}
                self.register()
                return True
        except Error as error:
            log.warning("beat_failed", error=type(error).__name__)
            connection.close()
            return True
        log.error("fenced_off", process_id=str(self.process_id))
        self._on_fenced()
        return False
