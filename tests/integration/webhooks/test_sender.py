"""The sender among bad receivers: nobody waits for another's, nothing is led inside, nothing is lost or kept twice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from apps.tenancy.context import across_tenants
from apps.webhooks import pacing
from apps.webhooks.lifecycle import Answer
from apps.webhooks.operations import following
from apps.webhooks.operations import sending as operations
from apps.webhooks.operations.sending import Sent
from tests.integration.conftest import Change, Control, Look
from tests.integration.webhooks.conftest import WEBHOOKS, Hooked, Sending
from tests.support.api import Module, said
from tests.support.receiver import Receiver
from tests.support.work import admitted, only
from workers import webhooks as worker
from workers.webhooks import Sender

Deliveries = Callable[[], list[dict[str, Any]]]
Receivers = Callable[..., Receiver]


@pytest.fixture
def hanging(receivers: Receivers) -> Iterator[Receiver]:
    """A receiver that takes the request and answers only when the test is over."""
    go_on = threading.Event()

    def hang(_: Any) -> tuple[int, dict[str, str], bytes]:
        go_on.wait(30)
        return 204, {}, b""

    yield receivers(hang)
    go_on.set()


class TestNobodyWaitsForAnother:
    """A slow or dead receiver costs others neither threads nor time."""

    def test_a_receiver_that_hangs_holds_few_requests_and_others_are_told_meanwhile(
        self, hanging: Receiver, receiver: Receiver, hooked: Hooked, sending: Sending
    ) -> None:
        for _ in range(8):
            hooked(hanging)
        hooked(receiver)
        for _ in range(40):
            admitted()
        sending(lambda: len(receiver.told) == 40)
        assert hanging.most_open <= pacing.OF_A_HOST

    def test_nor_does_a_tenant_with_many_bad_receivers_keep_another_tenant_waiting(
        self, receivers: Receivers, hooked: Hooked, sending: Sending
    ) -> None:
        go_on = threading.Event()
        bad = [receivers(lambda _: (500 + go_on.wait(30), {}, b"")) for _ in range(20)]
        good = receivers()
        try:
            for each in bad:
                hooked(each)
            hooked(good, tenant="globex")
            for _ in range(5):
                admitted()
                admitted(tenant="globex")
            sending(lambda: len(good.told) == 5, within_s=10)
            sending(lambda: sum(each.open_now for each in bad) == 8, within_s=10)
            for _ in range(5):
                sending(lambda: True)
            assert sum(each.open_now for each in bad) == 8, "half of the threads, whatever it owns"
        finally:
            go_on.set()

    def test_a_receiver_that_fails_again_and_again_is_left_alone_and_loses_no_try(
        self, receiver: Receiver, hooked: Hooked, sending: Sending, deliveries: Deliveries, look: Look, change: Change
    ) -> None:
        receiver.answer = (500, {}, b"")
        hooked(receiver)
        for _ in range(6):
            admitted()
        sending(lambda: sum(row["tries"] for row in deliveries()) == 3)
        assert sorted(row["tries"] for row in deliveries()) == [0, 0, 0, 1, 1, 1]
        left = only(look("SELECT extract(epoch FROM left_alone_until - now()) AS s FROM webhooks"))["s"]
        assert 5 < left <= 10
        for _ in range(5):
            sending(lambda: True)
        assert len(receiver.told) == 3, "nothing is sent while it is left alone"
        receiver.answer = (204, {}, b"")
        change("UPDATE webhooks SET left_alone_until = now(); UPDATE webhook_deliveries SET due_at = now()")
        sending(lambda: [row["state"] for row in deliveries()] == ["delivered"] * 6)
        assert only(look("SELECT failures FROM webhooks"))["failures"] == 0

    def test_no_transaction_is_open_while_a_receiver_takes_its_time(
        self, hanging: Receiver, hooked: Hooked, sending: Sending, look: Look
    ) -> None:
        hooked(hanging)
        admitted()
        sending(lambda: hanging.open_now == 1)
        assert look("SELECT 1 FROM pg_stat_activity WHERE state LIKE 'idle in transaction%%'") == []


class TestWhereItCalls:
    """The address is judged with each request, not when the webhook was made."""

    def test_a_grant_that_was_taken_back_holds_at_once(
        self, receiver: Receiver, hooked: Hooked, sending: Sending, deliveries: Deliveries, loopback: Path
    ) -> None:
        hooked(receiver)
        loopback.write_text("{}")
        admitted()
        sending(lambda: [row["tries"] for row in deliveries()] == [1])
        assert receiver.told == []
        tried = only(only(deliveries())["attempts"])
        assert (tried["status"], tried["error"]) == (None, "address_forbidden")

    def test_a_name_that_leads_inside_is_not_called(
        self, acme: Module, receiver: Receiver, sending: Sending, deliveries: Deliveries, loopback: Path
    ) -> None:
        loopback.write_text("{}")
        url = receiver.url.replace("127.0.0.1", "localhost")
        said(acme.post({"url": url, "event_types": ["operations.job.*"]}, path=WEBHOOKS), 201)
        admitted()
        sending(lambda: [row["tries"] for row in deliveries()] == [1])
        assert receiver.told == []
        assert only(only(deliveries())["attempts"])["error"] == "address_forbidden"

    def test_in_production_nothing_is_sent_in_the_clear(
        self, receiver: Receiver, hooked: Hooked, sending: Sending, deliveries: Deliveries, settings: Settings
    ) -> None:
        hooked(receiver)
        settings.ENVIRONMENT = replace(settings.ENVIRONMENT, local=False)
        admitted()
        sending(lambda: [row["tries"] for row in deliveries()] == [1])
        assert receiver.told == []
        assert only(only(deliveries())["attempts"])["error"] == "not_https"

    def test_whoever_is_not_there_is_named_so(self, hooked: Hooked, sending: Sending, deliveries: Deliveries) -> None:
        hooked(Receiver(url="http://127.0.0.1:1/"))
        admitted()
        sending(lambda: [row["tries"] for row in deliveries()] == [1])
        assert only(only(deliveries())["attempts"])["error"] == "unreachable"

    def test_whoever_is_too_slow_is_named_so(
        self, hanging: Receiver, hooked: Hooked, sending: Sending, deliveries: Deliveries, monkeypatch: Any
    ) -> None:
        monkeypatch.setattr(worker, "ANSWER_WITHIN_S", 0.3)
        hooked(hanging)
        admitted()
        sending(lambda: [row["tries"] for row in deliveries()] == [1])
        assert only(only(deliveries())["attempts"])["error"] == "too_slow"


class TestSecrets:
    """Both sign while they overlap, and one afterwards."""

    def test_both_secrets_sign_during_the_overlap_and_the_new_one_afterwards(
        self, acme: Module, receiver: Receiver, hooked: Hooked, sending: Sending, change: Change
    ) -> None:
        before = hooked(receiver)
        rotated = said(acme.post({}, path=f"{WEBHOOKS}/{before['webhook_id']}/rotate-secret"))
        admitted()
        sending(lambda: len(receiver.told) == 1)
        assert receiver.told[0].signed_by(rotated["secret"])
        assert receiver.told[0].signed_by(before["secret"])
        change("UPDATE webhooks SET previous_until = now()")
        admitted()
        sending(lambda: len(receiver.told) == 2)
        assert receiver.told[1].signed_by(rotated["secret"])
        assert not receiver.told[1].signed_by(before["secret"])
        assert not receiver.told[1].signed_by(hooked(receiver)["secret"])


class TestNothingIsLost:
    """Killed anywhere, the next sender goes on; what the first would still write counts no more."""

    def test_what_was_under_way_is_sent_again_by_the_next_sender_at_once(
        self, receiver: Receiver, hooked: Hooked, sending: Sending, deliveries: Deliveries, control: Control
    ) -> None:
        hooked(receiver)
        admitted()
        with control():
            following_numbered()
            claimed = operations.claim({only(deliveries())["webhook_id"]: 1})  # and the process is gone
        assert [row["state"] for row in deliveries()] == ["sending"]
        sending(lambda: [row["state"] for row in deliveries()] == ["delivered"], within_s=5)
        late = Sent(claimed=claimed[0], answer=Answer(500), took_ms=1)
        with control():
            assert operations.settle([late], dice=0.0) == []
        assert only(deliveries())["state"] == "delivered"
        assert len(only(deliveries())["attempts"]) == 1

    def test_a_lease_that_is_over_lets_a_leading_sender_send_again(
        self, receiver: Receiver, hooked: Hooked, sending: Sending, deliveries: Deliveries, control: Control,
        change: Change,
    ) -> None:  # fmt: skip
        hooked(receiver)
        sending(lambda: True)  # it leads already, so it takes nothing over
        admitted()
        with control():
            following_numbered()
            assert len(operations.claim({only(deliveries())["webhook_id"]: 1})) == 1
        sending(lambda: True)
        assert receiver.told == []
        change("UPDATE webhook_deliveries SET due_at = now()")
        sending(lambda: [row["state"] for row in deliveries()] == ["delivered"])

    def test_events_read_again_are_owed_once(
        self, receiver: Receiver, hooked: Hooked, sending: Sending, deliveries: Deliveries, change: Change
    ) -> None:
        hooked(receiver)
        admitted()
        sending(lambda: [row["state"] for row in deliveries()] == ["delivered"])
        change("UPDATE event_consumers SET position = 0 WHERE name = 'webhooks'")
        sending(lambda: True)
        assert len(deliveries()) == 1
        assert len(receiver.told) == 1

    def test_with_nobody_listening_the_follower_keeps_up_and_reads_nothing(
        self, sending: Sending, deliveries: Deliveries, look: Look
    ) -> None:
        admitted()
        sending(lambda: look("SELECT 1 FROM event_consumers WHERE name = 'webhooks' AND position > 0"))
        assert deliveries() == []

    def test_two_senders_claim_each_delivery_once(
        self, receiver: Receiver, hooked: Hooked, deliveries: Deliveries, control: Control
    ) -> None:
        hooked(receiver)
        for _ in range(20):
            admitted()
        found: list[Any] = []
        gate = threading.Barrier(4)

        def run(webhook_id: Any) -> None:
            from django.db import connection  # noqa: PLC0415 - a thread's own

            try:
                with across_tenants():
                    gate.wait(10)
                    found.extend(each.delivery_id for each in operations.claim({webhook_id: 10}))
            finally:
                connection.close()

        with control():
            following_numbered()
            webhook_id = deliveries()[0]["webhook_id"]
            threads = [threading.Thread(target=run, args=[webhook_id]) for _ in range(4)]
            for each in threads:
                each.start()
            for each in threads:
                each.join()
        assert len(found) == len(set(found)) == 20


def following_numbered() -> None:
    """Number what was told and write the deliveries."""
    from apps.events.operations import number_committed  # noqa: PLC0415 - beside its use

    number_committed(limit=500)
    following.follow()


def test_told_to_stop_it_writes_what_comes_of_what_is_under_way(
    receivers: Receivers, hooked: Hooked, sending: Sending, deliveries: Deliveries, sender: Sender, control: Control
) -> None:
    go_on = threading.Event()
    slow = receivers(lambda _: (203 + go_on.wait(20), {}, b""))
    hooked(slow)
    admitted()
    sending(lambda: slow.open_now == 1)
    go_on.set()
    with control():
        sender.close()
    assert [row["state"] for row in deliveries()] == ["delivered"]
