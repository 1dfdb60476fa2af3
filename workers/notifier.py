"""The notifier: decides about what was said, speaks to channels, and sees to it that somebody was told.

One thread speaks to the database: it makes deliveries of new signals, claims what is due, hands messages to a few
threads that speak to channels and to nothing else, and writes what came of it. So no transaction is open while a
channel takes its time, and a channel costs at most the threads that `pacing` gives it.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, Final, NamedTuple
from uuid import UUID

import structlog
from django.conf import settings

from apps.core import metrics
from apps.notifications import kinds, pacing
from apps.notifications.lifecycle import Answer
from apps.notifications.operations import auditing, handling, hedging, outcomes, sending, testing, upkeep
from apps.notifications.operations.sending import Claimed, Sent
from apps.notifications.operations.wake import CHANNEL
from apps.notifications.pacing import Owing
from apps.notifications.secrets import SealBrokenError, opened
from apps.tenancy.context import across_tenants
from apps.tenancy.keys import BadKeyError, KeysMissingError
from workers import loop

log = structlog.get_logger(__name__)

LOOK_EVERY_S: Final = 0.5
UPKEEP_EVERY_S: Final = 5.0
PURGE_AT_ONCE: Final = 200
TESTS_AT_ONCE: Final = 2  # of the threads: what is owed to people waits for none
LAST_WORDS_S: Final = 20.0  # what is under way when it is told to stop may end


class _UnderWay(NamedTuple):
    claimed: Claimed
    owing: Owing


class Notifier:
    """One process's state between looks: its threads, what they are at, and what was sent within the last minute."""

    def __init__(self, *, threads: int = pacing.THREADS) -> None:
        self._threads = threads
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="notifier")
        self._under_way: dict[Future[Sent], _UnderWay] = {}
        self._tests: dict[Future[Sent], Claimed] = {}
        self._sent_at: dict[UUID, deque[float]] = {}
        self._leads = False
        self._upkeep_at = 0.0
        self._silenced_after = upkeep.BEGINNING

    def run(self) -> None:
        """Notify until SIGTERM, then let what is under way end."""
        with across_tenants():
            loop.run(role="notifier", step=self.step, channel=CHANNEL)
            self.close()

    def step(self) -> float:
        """Look once: what came of attempts, what was said, what is due or late; return the seconds to rest."""
        if not self._leads:
            # One notifier leads, so what is being sent as it begins was another's, which is gone.
            upkeep.ensure_inbox()
            taken = sending.take_over()
            self._leads = True
            if taken:
                log.info("notifications_taken_over", deliveries=taken)
        self._settle()
        handled = handling.handle()
        for severity in handled.raised:
            metrics.alert_raised(severity=severity)
        self._count(handled.told)
        self._count(hedging.hedge().told)
        self._begin()
        late = auditing.audit()
        if late:
            log.warning("notifications_undelivered", count=late)
        self._keep_up()
        if handled.signals == handling.BATCH:
            return 0.0
        if self._under_way:
            wait(self._under_way, timeout=0.05, return_when=FIRST_COMPLETED)
            return 0.0
        return LOOK_EVERY_S

    def close(self) -> None:
        """Begin nothing more; write what still comes of what is under way."""
        wait([*self._under_way, *self._tests], timeout=LAST_WORDS_S)
        self._settle()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _begin(self) -> None:
        """Claim what is due and may begin, and hand it to the threads."""
        if len(self._under_way) >= self._threads:
            return
        busy = [each.owing for each in self._under_way.values()]
        owing = {each.channel_id: each for each in sending.owing(sent_lately=self._sent_lately())}
        allowed = pacing.allowances(list(owing.values()), under_way=busy, threads=self._threads)
        environment = settings.ENVIRONMENT
        claimed = sending.claim(
            allowed,
            most={name: kinds.kind_of(name).most for name in kinds.names()},
            public_url=environment.public_url,
            production=not environment.local,
        )
        for each in claimed:
            channel_id = each.channel.channel_id
            self._sent_at.setdefault(channel_id, deque()).append(time.monotonic())
            self._under_way[self._pool.submit(send, each)] = _UnderWay(each, owing[channel_id])

    def _settle(self) -> None:
        """Write what came of the attempts that are over."""
        over = [future for future in self._under_way if future.done()]
        if over:
            # `send` raises nothing: a defect of ours ends the process.
            settled = sending.settle([future.result() for future in over], dice=random.random())  # noqa: S311 - it spreads tries, and guards nothing
            for future in over:
                del self._under_way[future]
            for each in settled:
                self._count(each.told)
                _log(each)
        for future in [future for future in self._tests if future.done()]:
            testing.note(future.result())
            del self._tests[future]

    def _sent_lately(self) -> Mapping[UUID, int]:
        """Return how many messages each channel was sent within the last minute, by this process."""
        before = time.monotonic() - pacing.CAP_WINDOW_S
        for times in self._sent_at.values():
            while times and times[0] < before:
                times.popleft()
        return {channel_id: len(times) for channel_id, times in self._sent_at.items()}

    def _keep_up(self) -> None:
        if time.monotonic() < self._upkeep_at:
            return
        upkeep.say_again()
        self._silenced_after = upkeep.end_silences(after=self._silenced_after)
        upkeep.skip_switched_off()
        purged = upkeep.purge(limit=PURGE_AT_ONCE)
        for each in testing.due(limit=TESTS_AT_ONCE - len(self._tests)):
            self._tests[self._pool.submit(send, each, test=True)] = each
        self._upkeep_at = time.monotonic() + (0.0 if purged == PURGE_AT_ONCE else UPKEEP_EVERY_S)

    @staticmethod
    def _count(told: list[outcomes.Told]) -> None:
        for each in told:
            if each.category == "alert":
                metrics.alert_delivered(seconds=each.after_s, severity=each.severity)


def send(claimed: Claimed, *, test: bool = False) -> Sent:
    """Make one attempt and return what came of it, whatever that is. Speaks to the channel and to nothing else."""
    began = time.monotonic()
    answer = Answer(accepted=False, error="unforeseen")
    channel = claimed.channel
    try:
        kind = kinds.kind_of(channel.kind)
        typed = opened(bytes(channel.sealed), channel_id=channel.channel_id)
        answer = kind.send(claimed.message, kind.for_test(typed) if test else typed)
    except kinds.NoSuchKindError:
        answer = Answer(accepted=False, error="no_such_kind", permanent=True)
    except SealBrokenError:
        answer = Answer(accepted=False, error="seal_broken", permanent=True)
    except (KeysMissingError, BadKeyError):
        answer = Answer(accepted=False, error="no_key")
    except Exception as error:  # noqa: BLE001 - a channel that breaks is one that failed
        # Neither the text nor the trace: what was typed about the channel may stand in both.
        log.error("notification_attempt_broke", channel=channel.name, error=type(error).__name__)  # noqa: TRY400
    return Sent(claimed=claimed, answer=answer, took_ms=round((time.monotonic() - began) * 1000))


def _log(settled: sending.Settled) -> None:
    sent = settled.sent
    words: dict[str, Any] = {
        "channel": sent.claimed.channel.name,
        "message_id": str(sent.claimed.message.message_id),
        "notifications": len(sent.claimed.deliveries),
        "state": str(settled.state),
    }
    if sent.answer.accepted:
        log.info("notification_sent", took_ms=sent.took_ms, **words)
    else:
        log.warning("notification_not_sent", status=sent.answer.status, error=sent.answer.error, **words)


def main() -> None:
    """Notify with this process's settings."""
    Notifier().run()
