"""The sender: tells webhooks of events, each at least once, and nobody waits for another's receiver.

One thread speaks to the database: it makes deliveries of new events, claims what is due, hands it to a few threads that
speak to receivers and to nothing else, and writes what came of it. So no transaction is open while a receiver takes its
time, and a receiver costs at most the threads that `pacing` gives it.
"""

from __future__ import annotations

import hashlib
import http.client
import random
import time
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Final, NamedTuple

import structlog
from django.conf import settings
from django.db import connection

from apps.core import grants, metrics, outbound, standard_webhooks
from apps.core.clock import DatabaseClock
from apps.events.cloudevents import encoded
from apps.tenancy.context import across_tenants
from apps.webhooks import pacing
from apps.webhooks.lifecycle import Answer, State
from apps.webhooks.operations import following, sending, upkeep
from apps.webhooks.operations.sending import Claimed, Sent
from apps.webhooks.pacing import Owing
from apps.webhooks.secrets import secret
from workers import loop

log = structlog.get_logger(__name__)

LOOK_EVERY_S: Final = 0.25  # as often as the relay numbers events, while there is a webhook
LISTEN_EVERY_S: Final = 1.0
ANSWER_WITHIN_S: Final = 15.0
CONNECT_WITHIN_S: Final = 5.0
MOST_ANSWER_BYTES: Final = 64 * 1024
UPKEEP_EVERY_S: Final = 5.0
UPKEEP_AT_ONCE: Final = 1000
LAST_WORDS_S: Final = 20.0  # what is under way when it is told to stop may end
CLOCK_GOOD_FOR_S: Final = 60.0


class _UnderWay(NamedTuple):
    claimed: Claimed
    owing: Owing


class Sender:
    """One process's state between looks: its threads, and what they are at."""

    def __init__(self, *, threads: int = pacing.THREADS) -> None:
        self._threads = threads
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="webhooks")
        self._under_way: dict[Future[Sent], _UnderWay] = {}
        self._leads = False
        self._listening = False
        self._upkeep_at = 0.0
        self._clock: DatabaseClock | None = None

    def run(self) -> None:
        """Send until SIGTERM, then let what is under way end."""
        with across_tenants():
            loop.run(role="webhooks", step=self.step)
            self.close()

    def step(self) -> float:
        """Look once: new events, what came of requests, what is due; return the seconds to rest."""
        if not self._leads:
            # One sender leads, so what is being sent as it begins was another's, which is gone.
            taken = sending.take_over()
            self._leads = True
            if taken:
                log.info("webhooks_taken_over", deliveries=taken)
        self._settle()
        followed, self._listening = following.follow()
        metrics.events_behind(count=following.behind() if followed else 0, consumer=following.CONSUMER)
        begun = self._begin()
        self._keep_up()
        if followed == following.BATCH:
            return 0.0
        if self._under_way:
            wait(self._under_way, timeout=LOOK_EVERY_S, return_when=FIRST_COMPLETED)
            return 0.0
        if begun:
            return 0.0
        return LOOK_EVERY_S if self._listening else LISTEN_EVERY_S

    def close(self) -> None:
        """Begin nothing more; write what still comes of what is under way."""
        wait(self._under_way, timeout=LAST_WORDS_S)
        self._settle()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _begin(self) -> int:
        """Claim what is due and may begin, and hand it to the threads; return how much that is."""
        if len(self._under_way) >= self._threads:
            return 0
        busy = [each.owing for each in self._under_way.values()]
        owing = {each.webhook_id: each for each in sending.owing()}
        allowed = pacing.allowances(list(owing.values()), under_way=busy, threads=self._threads)
        claimed = sending.claim(allowed)
        for each in claimed:
            future = self._pool.submit(send, each, production=not settings.ENVIRONMENT.local)
            self._under_way[future] = _UnderWay(each, owing[each.webhook_id])
        return len(claimed)

    def _settle(self) -> None:
        """Write what came of the requests that are over."""
        over = [future for future in self._under_way if future.done()]
        if not over:
            return
        sent = [future.result() for future in over]  # `send` raises nothing: a defect of ours ends the process
        counted = sending.settle(sent, dice=random.random())  # noqa: S311 - it spreads tries, and guards nothing
        for future in over:
            del self._under_way[future]
        now = self._now()
        for each, state in counted:
            metrics.webhook_tried(outcome=_outcome(each.answer))
            if state is State.DELIVERED:
                age_s = (now.now() - each.claimed.event.occurred_at).total_seconds()
                metrics.event_delivered(seconds=age_s, consumer=following.CONSUMER)
            else:
                log.info(
                    "webhook_not_delivered",
                    webhook_id=str(each.claimed.webhook_id),
                    event_id=str(each.claimed.event.event_id),
                    status=each.answer.status,
                    error=each.answer.error,
                    state=str(state),
                )

    def _keep_up(self) -> None:
        if time.monotonic() < self._upkeep_at:
            return
        held = upkeep.hold_back(limit=UPKEEP_AT_ONCE)
        purged = upkeep.purge(limit=UPKEEP_AT_ONCE)
        more = max(held, purged) >= UPKEEP_AT_ONCE
        self._upkeep_at = time.monotonic() + (0.0 if more else UPKEEP_EVERY_S)

    def _now(self) -> DatabaseClock:
        if self._clock is None or self._clock.age_s() > CLOCK_GOOD_FOR_S:
            self._clock = DatabaseClock.ask(connection)
        return self._clock


def send(claimed: Claimed, *, production: bool) -> Sent:
    """Make one request and return what came of it, whatever that is. Speaks to the receiver and to nothing else."""
    began = time.monotonic()
    answer, text = Answer(None, "unforeseen"), None
    try:
        answer, text = _ask(claimed, production=production)
    except outbound.ForbiddenAddressError:
        answer = Answer(None, "address_forbidden")
    except outbound.BadUrlError:
        answer = Answer(None, "bad_url")
    except outbound.UnreachableError as error:
        answer = Answer(None, "too_slow" if error.slow else "unreachable")
    except grants.BadGrantError:
        answer = Answer(None, "bad_grant")
    except Exception:  # a defect of ours costs this delivery a try: raised, it would end the sender, and everybody's
        log.exception("webhook_request_broke", webhook_id=str(claimed.webhook_id))
    return Sent(
        claimed=claimed,
        answer=answer,
        took_ms=round((time.monotonic() - began) * 1000),
        digest=None if text is None else f"sha256:{hashlib.sha256(text).hexdigest()}",
        size=None if text is None else len(text),
    )


def _ask(claimed: Claimed, *, production: bool) -> tuple[Answer, bytes]:
    if production and not outbound.target(claimed.url).secure:
        return Answer(None, "not_https"), b""
    body = encoded(claimed.event)
    with outbound.request(
        claimed.url,
        method="POST",
        networks=grants.grant(tenant_id=claimed.tenant_id).networks,
        body=body,
        headers=_headers(claimed, body=body),
        connect_s=CONNECT_WITHIN_S,
        silent_s=ANSWER_WITHIN_S,
        total_s=ANSWER_WITHIN_S,
    ) as response:
        # The status has been said: an answer that is cut off, or too long to be read, is an answer.
        return Answer(response.status, None, outbound.retry_after(response)), _beginning(response)


def _beginning(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(MOST_ANSWER_BYTES)
    except (OSError, http.client.HTTPException):
        return b""


def _headers(claimed: Claimed, *, body: bytes) -> Mapping[str, str]:
    secrets = [secret(webhook_id=claimed.webhook_id, secret_id=each) for each in claimed.secret_ids]
    at = int(claimed.at.timestamp())
    signed = standard_webhooks.signed(body, message_id=str(claimed.event.event_id), secrets=secrets, at=at)
    return {"Content-Type": "application/cloudevents+json", "User-Agent": "Platform-Operations-Webhooks/1", **signed}


def _outcome(answer: Answer) -> str:
    if answer.accepted:
        return "accepted"
    return answer.error or f"{answer.status // 100 if answer.status else 0}xx"


def main() -> None:
    """Send with this process's settings."""
    Sender().run()
