"""What a receiver is told, when, and what its answers lead to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.conftest import Change, Look
from tests.integration.webhooks.conftest import Hooked, Sending
from tests.support.receiver import Receiver
from tests.support.work import admitted, only

Deliveries = Callable[[], list[dict[str, Any]]]


def states(deliveries: Deliveries) -> list[str]:
    return [row["state"] for row in deliveries()]


def test_an_event_is_told_signed_and_once(
    receiver: Receiver, hooked: Hooked, sending: Sending, deliveries: Deliveries, look: Look
) -> None:
    admitted()  # before anybody asked
    webhook = hooked(receiver)
    job_id = admitted()
    admitted(tenant="globex")
    sending(lambda: states(deliveries) == ["delivered"])
    (told,) = receiver.told
    event = only(look("SELECT * FROM events WHERE subject = %s", str(job_id)))
    assert told.headers["webhook-id"] == str(event["event_id"]) == told.event["id"]
    assert told.headers["content-type"] == "application/cloudevents+json"
    assert told.signed_by(webhook["secret"])
    assert (told.event["type"], told.event["subject"], told.event["tenantid"]) == (
        "operations.job.submitted",
        str(job_id),
        "acme",
    )
    assert told.event["specversion"] == "1.0"
    assert told.event["sequence"] == f"{event['sequence']:020d}"
    assert webhook["secret"].encode() not in told.body
    delivery = only(deliveries())
    assert (delivery["delivery_id"].version, delivery["event_id"]) == (7, event["event_id"])
    tried = only(delivery["attempts"])
    assert (tried["status"], tried["error"], tried["answer_bytes"]) == (204, None, 0)


def test_only_what_was_asked_for_is_told(
    receivers: Callable[..., Receiver], hooked: Hooked, sending: Sending, deliveries: Deliveries
) -> None:
    wanted = {
        "operations.job.submitted": 1,
        "operations.job.*": 1,
        "operations.*": 1,
        "operations.job.failed": 0,
        "operations.job": 0,
        "operations.jo.*": 0,
    }
    made = {name: receivers() for name in wanted}
    for name, each in made.items():
        hooked(each, event_types=["operations.ticket.created", name])
    admitted()
    sending(lambda: states(deliveries) == ["delivered"] * 3)
    assert {name: len(each.told) for name, each in made.items()} == wanted


def test_a_failure_is_tried_again_under_the_same_id_by_the_schedule(
    receiver: Receiver, hooked: Hooked, sending: Sending, deliveries: Deliveries, look: Look, change: Change
) -> None:
    receiver.answer = (500, {}, b"no")
    webhook = hooked(receiver)
    admitted()
    for tries, pause_s in enumerate((5, 300, 1800, 7200, 18_000, 36_000, 36_000), start=1):
        sending(lambda wanted=tries: [row["tries"] for row in deliveries()] == [wanted])  # type: ignore[misc]
        row = only(look("SELECT *, extract(epoch FROM due_at - clock_timestamp()) AS left FROM webhook_deliveries"))
        assert row["state"] == "waiting"
        assert pause_s - 5 < row["left"] <= pause_s * 1.2
        change("UPDATE webhook_deliveries SET due_at = now(); UPDATE webhooks SET left_alone_until = NULL")
    sending(lambda: states(deliveries) == ["failed"])
    assert len(receiver.told) == 8
    assert len(set(receiver.ids())) == 1
    assert len({told.body for told in receiver.told}) == 1
    assert all(told.signed_by(webhook["secret"]) for told in receiver.told)
    assert [tried["status"] for tried in only(deliveries())["attempts"]] == [500] * 8
    assert only(look("SELECT disabled_at FROM webhooks"))["disabled_at"] is None


@pytest.mark.parametrize(
    ("answer", "word"),
    [((302, {"Location": "/elsewhere"}, b""), 302), ((404, {}, b""), 404), ((204, {}, b""), 204)],
    ids=["a redirect", "not found", "taken"],
)
def test_only_a_2xx_is_a_success_and_nothing_is_followed(
    receiver: Receiver, hooked: Hooked, sending: Sending, deliveries: Deliveries, answer: Any, word: int
) -> None:
    receiver.answer = answer
    hooked(receiver)
    admitted()
    sending(lambda: [row["tries"] for row in deliveries()] == [1])
    assert states(deliveries) == ["delivered" if word < 300 else "waiting"]
    assert only(only(deliveries())["attempts"])["status"] == word
    assert [told.path for told in receiver.told] == ["/hooks"]


@pytest.mark.parametrize("status", [429, 503])
def test_a_receiver_that_asks_for_time_is_left_alone_as_long_as_it_asks(
    receiver: Receiver, hooked: Hooked, sending: Sending, deliveries: Deliveries, look: Look, status: int
) -> None:
    receiver.answer = (status, {"Retry-After": "1234"}, b"")
    hooked(receiver)
    admitted()
    sending(lambda: [row["tries"] for row in deliveries()] == [1])
    left = only(
        look(
            "SELECT extract(epoch FROM d.due_at - clock_timestamp()) AS one,"
            " extract(epoch FROM w.left_alone_until - clock_timestamp()) AS all_of_it"
            " FROM webhook_deliveries d JOIN webhooks w USING (webhook_id)"
        )
    )
    assert 1200 < left["one"] <= 1234
    assert 1200 < left["all_of_it"] <= 1234
    admitted()
    receiver.answer = (204, {}, b"")
    sending(lambda: len(deliveries()) == 2)
    for _ in range(3):
        sending(lambda: True)
    assert len(receiver.told) == 1


def test_the_answer_is_read_to_a_bound_and_not_kept(
    receiver: Receiver, hooked: Hooked, sending: Sending, deliveries: Deliveries
) -> None:
    receiver.answer = (200, {}, b"a secret word of theirs" + b"x" * 10_000_000)
    hooked(receiver)
    admitted()
    sending(lambda: states(deliveries) == ["delivered"])
    tried = only(only(deliveries())["attempts"])
    assert tried["answer_bytes"] == 64 * 1024
    assert len(tried["answer_digest"]) == len("sha256:") + 64
    assert "secret word" not in repr(deliveries())


def test_gone_disables_at_once_and_says_so(
    receiver: Receiver, hooked: Hooked, sending: Sending, deliveries: Deliveries, look: Look
) -> None:
    receiver.answer = (410, {}, b"")
    webhook = hooked(receiver)
    admitted()
    sending(lambda: states(deliveries) == ["failed"])
    assert only(look("SELECT disabled_reason FROM webhooks"))["disabled_reason"] == "gone"
    event = only(look("SELECT * FROM events WHERE type = 'operations.webhook.disabled'"))
    assert (event["tenant_id"], event["subject"], event["data"]["reason"]) == ("acme", webhook["webhook_id"], "gone")
    assert receiver.url not in repr(event)
    admitted()
    sending(lambda: states(deliveries) == ["failed", "held"])
    assert len(receiver.told) == 1


def test_five_days_of_nothing_but_failures_disable(
    receiver: Receiver, hooked: Hooked, sending: Sending, deliveries: Deliveries, look: Look, change: Change
) -> None:
    receiver.answer = (500, {}, b"")
    hooked(receiver)
    admitted()
    admitted()
    sending(lambda: [row["tries"] for row in deliveries()] == [1, 1])
    assert only(look("SELECT disabled_at FROM webhooks"))["disabled_at"] is None
    change("UPDATE webhooks SET failing_since = now() - interval '5 days', failed_at = now() - interval '1 hour'")
    change("UPDATE webhook_deliveries SET due_at = now() WHERE delivery_id = (SELECT min(delivery_id::text)::uuid"
           " FROM webhook_deliveries)")  # fmt: skip
    sending(lambda: look("SELECT 1 FROM webhooks WHERE disabled_reason = 'failing'"))
    data = only(look("SELECT data FROM events WHERE type = 'operations.webhook.disabled'"))["data"]
    assert data["failing_since"] is not None
    assert data["by"] == "webhooks"
    sending(lambda: states(deliveries) == ["held", "held"], within_s=30)


def test_a_failure_long_ago_and_one_now_are_no_five_days_of_failures(
    receiver: Receiver, hooked: Hooked, sending: Sending, deliveries: Deliveries, look: Look, change: Change
) -> None:
    receiver.answer = (500, {}, b"")
    hooked(receiver)
    change(
        "UPDATE webhooks SET failures = 1, failing_since = now() - interval '9 days', failed_at = now() - interval"
        " '9 days'"
    )
    admitted()
    sending(lambda: [row["tries"] for row in deliveries()] == [1])
    assert only(look("SELECT disabled_at FROM webhooks"))["disabled_at"] is None


def test_a_test_goes_to_one_webhook_alone(
    receivers: Callable[..., Receiver], hooked: Hooked, sending: Sending, deliveries: Deliveries, acme: Any
) -> None:
    wanted, other = receivers(), receivers()
    webhook = hooked(wanted, event_types=["operations.ticket.created"])
    hooked(other, event_types=["operations.*"])
    answer = acme.post({}, path=f"/operations/webhooks/{webhook['webhook_id']}/test")
    assert answer.status_code == 202
    sending(lambda: states(deliveries) == ["delivered"])
    assert wanted.ids() == [answer.json()["event_id"]]
    assert wanted.told[0].event["type"] == "operations.webhook.test"
    assert other.told == []
