"""The sealer: numbers committed evidence, and signs a checkpoint over each log that grew.

Nobody has to wake it: a record waits for the next look, half a second at most, and what arrived meanwhile comes under
one checkpoint. When nothing arrived a look is a question to each of two small indexes. Before it seals it counts those
series of refusals whose time is over.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from uuid import UUID

import structlog

from apps.core import metrics
from apps.evidence import heads as kept_heads
from apps.evidence import keys, queries
from apps.evidence.logs import Log
from apps.evidence.operations import series
from apps.evidence.operations.seal import ConflictError, Sealed, Step, seal
from apps.evidence.operations.series import SeriesBlockedError
from apps.tenancy.context import across_tenants
from workers import loop

log = structlog.get_logger(__name__)

BATCH = 2000
LOOK_EVERY_S = 0.5
BROKEN_AGAIN_S = 60.0
SERIES_A_STEP = 10


class Sealer:
    """One process's state between looks: the checkpoints it knows, and which logs it leaves alone for a while."""

    def __init__(self, *, heads: kept_heads.Heads, batch: int = BATCH) -> None:
        self._heads = heads
        self._batch = batch
        self._held: dict[Log, float] = {}
        self._blocked: dict[UUID, float] = {}

    def run(self) -> None:
        """Seal until SIGTERM."""
        with across_tenants():
            loop.run(role="sealer", step=self.step)

    def step(self) -> float:
        """Seal what waits, a bounded part of it; return the seconds to rest."""
        self._release()
        left = self._close_series()
        if not queries.unsealed():
            return 0.0 if left else LOOK_EVERY_S
        try:
            done = self._seal()
        except ConflictError as conflict:
            done = self._seal_singly(conflict.logs)
        return 0.0 if left or (done.sealed and done.seen >= self._batch) else LOOK_EVERY_S

    def _close_series(self) -> bool:
        """Count the series of refusals that are over, a bounded number of them; return whether more may be due."""
        if not series.due():
            return False
        for _ in range(SERIES_A_STEP):
            try:
                closed = series.close(held=self._blocked)
            except SeriesBlockedError as blocked:
                self._block(blocked)
                continue
            if closed is None:
                return False
            if closed.count > 1:
                tenant_id, region = closed.log
                log.info(
                    "refusals_counted", tenant_id=tenant_id, region=region, first=closed.subject_id, n=closed.count
                )
        return True

    def _seal(self, *, only: Log | None = None) -> Step:
        done = seal(limit=self._batch, ring=keys.ring(), heads=self._heads, held=list(self._held), only=only)
        for each in done.sealed:
            for record in each.records:
                metrics.evidence_sealed(seconds=(each.sealed_at - record.columns.created_at).total_seconds())
        for broken, reason in done.broken.items():
            self._hold(broken, reason=reason)
        return done

    def _seal_singly(self, logs: Iterable[Log]) -> Step:
        """Seal the logs one by one, so that forged rows in one hold up none of the others."""
        sealed: list[Sealed] = []
        seen = 0
        for each in logs:
            try:
                done = self._seal(only=each)
            except ConflictError as conflict:
                self._hold(each, reason=f"rows stand where the sealer alone may write: {conflict}")
                continue
            sealed += done.sealed
            seen += done.seen
        return Step(seen=seen, sealed=sealed)

    def _hold(self, broken: Log, *, reason: str) -> None:
        """Leave a log alone: to sign upon what was changed would be to vouch for it."""
        log.error("evidence_log_broken", tenant_id=broken.tenant_id, region=broken.region, reason=reason)
        self._held[broken] = time.monotonic() + BROKEN_AGAIN_S
        self._heads.forget(broken)

    def _block(self, blocked: SeriesBlockedError) -> None:
        """Leave a series alone: a person has to look at who put a record where its own belongs."""
        log.error("evidence_series_blocked", record_id=str(blocked.record_id), reason=str(blocked))
        self._blocked[blocked.record_id] = time.monotonic() + BROKEN_AGAIN_S

    def _release(self) -> None:
        """Try held logs again after a while: a person may have looked, and a false alarm must not last."""
        now = time.monotonic()
        for each in [each for each, until in self._held.items() if until <= now]:
            del self._held[each]
        self._blocked = {record_id: until for record_id, until in self._blocked.items() if until > now}


def main() -> None:
    """Seal with this process's settings."""
    Sealer(heads=kept_heads.kept()).run()
