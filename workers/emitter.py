"""The emitter: offers sealed evidence to the sink, in the order of each log, until it is accepted.

One thread speaks to the database; a few others to the sink and to nothing else, so that no transaction is open while it
takes its time. Whatever fails is offered again, and meanwhile the jobs it is of say so (`pending_audit`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, Final, NamedTuple
from uuid import UUID

import structlog
from django.conf import settings
from django.db import connection, transaction

from apps.core import metrics
from apps.core.clock import DatabaseClock
from apps.evidence import batches, dsse, keys, notes, queries, receipts
from apps.evidence.logs import Log
from apps.evidence.operations import emit
from apps.evidence.operations.emit import Offer, Standing
from apps.evidence.pacing import log_pause_s, sink_pause_s
from apps.jobs.operations import audit
from apps.tenancy.context import across_tenants
from workers import loop
from workers.sink_client import Receipt, Sink, SinkAwayError, SinkRefusedError

log = structlog.get_logger(__name__)

LOOK_EVERY_S: Final = 0.25
AT_ONCE: Final = 4  # batches under way
MOST_LOOKED_AT: Final = 256  # logs in a step, however many are behind
MOST_TOLD: Final = 20_000  # records whose jobs are told in a step that their evidence is owed
CLOCK_GOOD_FOR_S: Final = 60.0
ALL_LOGS_EVERY_S: Final = 60.0  # whatever ids say: a clock that was set back gives smaller ones


class _Outcome(NamedTuple):
    """What came of an offer: a receipt, or why there is none."""

    offer: Offer
    receipt: Receipt | None
    away: SinkAwayError | None = None
    refused: SinkRefusedError | None = None


class Emitter:
    """One process's state between looks: which logs are behind, and how long the sink is left alone."""

    def __init__(self, *, sink: Sink, threads: int = AT_ONCE) -> None:
        self._sink = sink
        self._threads = threads
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="emitter")
        self._behind: dict[Log, None] = {}  # in the order in which they are served
        self._seen: UUID | None = None
        self._all_again_at = 0.0
        self._resume: dict[Log, int] = {}  # where the sink is, of a log of which it knows less than was noted here
        self._refusals: dict[Log, int] = {}  # in a row, of logs that fail alone
        self._away = 0
        self._back_at = 0.0
        self._clock: DatabaseClock | None = None

    def run(self) -> None:
        """Emit until SIGTERM."""
        with across_tenants():
            loop.run(role="emitter", step=self.step)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def step(self) -> float:
        """Offer the next batches; return the seconds to rest."""
        self._find()
        if not self._behind:
            return LOOK_EVERY_S
        standings = self._standings()
        if time.monotonic() < self._back_at:
            self._tell(standings)
            return LOOK_EVERY_S
        due = [each for each in standings if each.due][: self._threads]
        outcomes = self._offered(due)
        for each, outcome in zip(due, outcomes, strict=True):
            self._settle(each, outcome)
        self._unanswered(due, outcomes, standings=standings)
        self._tell([each for each in standings if not each.due])
        served = any(outcome is not None and outcome.receipt is not None for outcome in outcomes)
        return 0.0 if served and self._behind else LOOK_EVERY_S

    def _find(self) -> None:
        """Note the logs that were sealed further since the last look; once in a while, all that are behind."""
        newest = emit.newest()
        if time.monotonic() >= self._all_again_at:
            fresh = emit.behind()
            self._all_again_at = time.monotonic() + ALL_LOGS_EVERY_S
        elif newest is None or newest == self._seen:
            return
        else:
            fresh = emit.behind() if self._seen is None else emit.grown_since(self._seen)
        self._behind.update(dict.fromkeys(log for log in fresh if log not in self._behind))
        self._seen = newest

    def _standings(self) -> list[Standing]:
        """Return how the next of the logs that are behind stand; forget those that are not behind any more.

        What cannot be offered now goes behind the others, so that they have their turn.
        """
        looked_at = list(islice(self._behind, MOST_LOOKED_AT))
        found = {each.log: each for each in emit.standing(looked_at)}
        standings = []
        for each in looked_at:
            standing = found.get(each)
            if standing is not None and standing.size > standing.emitted:
                standings.append(standing)
                if standing.due:
                    continue
                self._behind[each] = self._behind.pop(each)
            else:
                del self._behind[each]
        return standings

    def _offered(self, due: Sequence[Standing]) -> list[_Outcome | None]:
        """Offer each log's next batch, side by side; return what came of each, None for one that cannot be made."""
        offers = [self._made(each) for each in due]
        signing = keys.ring().signing
        futures = [
            made and self._pool.submit(_send, self._sink, made[0], dsse.envelope(made[1], keys=signing))
            for made in offers
        ]
        return [None if each is None else each.result() for each in futures]

    def _made(self, standing: Standing) -> tuple[Offer, bytes] | None:
        """Return a log's next batch and the statement it is, or note that somebody touched what it is made of."""
        try:
            offer = emit.offer(standing.log, start=self._resume.get(standing.log, standing.emitted))
            return offer, _statement(offer)
        except (emit.RecordsMissingError, batches.BadBatchError) as error:
            log.error("evidence_not_emitted", origin=standing.log.origin, reason=str(error))  # noqa: TRY400 - it is told
            self._fails_alone(standing, error=str(error))
            return None

    def _settle(self, standing: Standing, outcome: _Outcome | None) -> None:
        """Write what the sink said to an offer, and serve the log last from now on."""
        self._behind.pop(standing.log)
        self._behind[standing.log] = None
        if outcome is None:
            return
        if outcome.receipt is not None:
            self._accepted(standing, outcome.offer, outcome.receipt)
        elif outcome.refused is not None:
            self._refused(standing, error=str(outcome.refused))

    def _unanswered(
        self, due: Sequence[Standing], outcomes: Sequence[_Outcome | None], *, standings: Sequence[Standing]
    ) -> None:
        """Leave the sink alone if it answered nobody. If it answered others, it has trouble with these logs alone."""
        made = [(each, outcome) for each, outcome in zip(due, outcomes, strict=True) if outcome is not None]
        unanswered = [(each, outcome.away) for each, outcome in made if outcome.away is not None]
        if len(unanswered) < len(made):
            self._away = 0
            for each, away in unanswered:
                log.warning("evidence_unanswered", origin=each.log.origin, error=str(away))
                self._fails_alone(each, error=str(away), pause_s=away.retry_after_s)
        elif unanswered:
            tried = {each.log for each in due} - {each.log for each, _ in unanswered}
            waiting = [each for each in standings if each.due and each.log not in tried]
            self._sink_is_away(unanswered[0][1], standings=waiting)

    def _accepted(self, standing: Standing, offer: Offer, receipt: Receipt) -> None:
        """Note what the sink has. One that keeps its place may have more than was noted here, or less."""
        size = offer.size if receipt.size is None else receipt.size
        if not self._agrees(standing, offer, receipt):
            return
        if size == offer.start:
            self._refused(standing, error="the sink contradicts itself about where the log stands")
            return
        if size < standing.emitted:
            self._resume[standing.log] = size
        else:
            self._resume.pop(standing.log, None)
        if receipt.size is not None and size <= standing.emitted:
            return
        self._refusals.pop(standing.log, None)
        with transaction.atomic():
            owed = emit.note_accepted(
                standing.log,
                start=standing.emitted if receipt.size is not None else offer.start,
                size=size,
                ref=receipt.ref,
                note=receipt.note,
                sealed=standing.size,
            )
            if owed > offer.start:
                audit.settle(standing.log, start=min(offer.start, standing.emitted), size=min(owed, size))
        self._count(offer)

    def _agrees(self, standing: Standing, offer: Offer, receipt: Receipt) -> bool:
        """Say whether what a witness cosigned is what it was sent, or where the log once was: no other history goes on.

        Its signature alone says less: whoever stands in between can answer with what it cosigned another time.
        """
        if receipt.note is None:
            return True
        text, _ = notes.signatures(receipt.note)
        if receipt.size is None:
            if text != notes.signatures(offer.note)[0]:
                self._refused(standing, error="the witness cosigned another checkpoint than it was sent")
                return False
            return True
        try:
            said = notes.parsed(text)
            known = said.size == receipt.size <= standing.size and said.origin == standing.log.origin
            known = known and said.root == receipts.root_at(standing.log, size=said.size)
        except (notes.BadNoteError, RuntimeError):
            known = False
        if not known:
            self._refused(standing, error="the sink saw another history of this log")
        return known

    def _refused(self, standing: Standing, *, error: str) -> None:
        log.error("evidence_refused", origin=standing.log.origin, emitted=standing.emitted, error=error)
        self._fails_alone(standing, error=error)

    def _fails_alone(self, standing: Standing, *, error: str, pause_s: float | None = None) -> None:
        """Leave one log alone for a while; the others go on."""
        refusals = self._refusals[standing.log] = self._refusals.get(standing.log, 0) + 1
        self._failed([standing], error=error, pause_s=pause_s or log_pause_s(refusals))

    def _sink_is_away(self, away: SinkAwayError, *, standings: Sequence[Standing]) -> None:
        """Leave the sink alone for a while; every log that waits for it was offered in vain."""
        self._away += 1
        pause_s = away.retry_after_s or sink_pause_s(self._away)
        self._back_at = time.monotonic() + pause_s
        log.warning("evidence_sink_away", error=str(away), logs=len(standings), pause_s=pause_s)
        self._failed(standings, error=str(away), pause_s=0.0)

    def _failed(self, standings: Sequence[Standing], *, error: str, pause_s: float) -> None:
        emit.note_failed(standings, error=error, pause_s=pause_s)
        self._tell(standings, failed=True)

    def _tell(self, standings: Sequence[Standing], *, failed: bool = False) -> None:
        """Let the jobs of logs that fail say that their evidence is owed, so many in a step; the rest in the next."""
        room = MOST_TOLD
        for each in standings:
            start = max(each.owed, each.emitted)
            while (failed or each.tries) and start < each.size and room > 0:
                upto = min(start + emit.MOST_RECORDS, each.size)
                with transaction.atomic():
                    told = emit.note_owed(each.log, upto=upto)
                    if told is not None:
                        audit.owe(each.log, start=told, size=upto)
                room -= upto - start
                start = upto
        metrics.audit_debt(records=sum(owed for _, owed, _, _ in queries.debts()))

    def _count(self, offer: Offer) -> None:
        """Observe how long after the ends of jobs their evidence was accepted."""
        if self._clock is None or self._clock.age_s() > CLOCK_GOOD_FOR_S:
            self._clock = DatabaseClock.ask(connection)
        now = self._clock.now()
        for ended_at in offer.ended_at:
            metrics.evidence_emitted(seconds=(now - ended_at).total_seconds())


def _statement(offer: Offer) -> bytes:
    return batches.batch(origin=offer.log.origin, root=offer.root, note=offer.note, entries=offer.entries)


def _send(sink: Sink, offer: Offer, envelope: dict[str, Any]) -> _Outcome:
    """Offer an envelope, in a thread of its own."""
    try:
        return _Outcome(offer, sink.offer(envelope))
    except SinkAwayError as error:
        return _Outcome(offer, None, away=error)
    except SinkRefusedError as error:
        return _Outcome(offer, None, refused=error)


def main() -> None:
    """Emit with this process's settings."""
    environment = settings.ENVIRONMENT
    sink = Sink(url=environment.evidence_url, witness=environment.evidence_witness, folder=environment.sink)
    Emitter(sink=sink).run()
