"""What was missed is sent again when somebody asks, and listed until it is forgotten."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apps.core.ids import uuid7
from apps.webhooks.operations import deliveries as asked_of_deliveries
from apps.webhooks.operations import upkeep
from tests.integration.conftest import Change, Control, Look
from tests.integration.webhooks.conftest import WEBHOOKS, Hooked, Sending
from tests.support.api import Module, fields, refused, said
from tests.support.receiver import Receiver
from tests.support.work import admitted, only

Deliveries = Callable[[], list[dict[str, Any]]]
LONG_AGO = "2026-01-01T00:00:00Z"


def address_of(webhook: dict[str, Any]) -> str:
    return f"{WEBHOOKS}/{webhook['webhook_id']}"


def states(deliveries: Deliveries) -> list[str]:
    return [row["state"] for row in deliveries()]


def switch(module: Module, webhook: dict[str, Any], *, on: bool) -> None:
    version = said(module.get(address_of(webhook)))["version"]
    said(module.send("PATCH", address_of(webhook), {"version": version, "enabled": on}))


def test_deliveries_are_listed_newest_first_with_what_came_of_each_try(
    acme: Module, receiver: Receiver, hooked: Hooked, sending: Sending, deliveries: Deliveries
) -> None:
    webhook = hooked(receiver)
    jobs = [str(admitted()) for _ in range(3)]
    receiver.answer = lambda told: (500 if told.event["subject"] == jobs[1] else 204, {}, b"")
    sending(lambda: [row["tries"] for row in deliveries()] == [1, 1, 1])
    page = said(acme.get(f"{address_of(webhook)}/deliveries", limit=2))
    rest = said(acme.get(f"{address_of(webhook)}/deliveries", limit=2, cursor=page["next"]))
    assert rest["next"] is None
    items = page["items"] + rest["items"]
    assert [each["state"] for each in items] == ["delivered", "waiting", "delivered"]
    assert [each["delivery_id"] for each in items] == [str(row["delivery_id"]) for row in deliveries()][::-1]
    assert [each["attempts"][0]["status"] for each in items] == [204, 500, 204]
    assert items[1]["next_try_at"] is not None
    assert items[0]["next_try_at"] is None
    waiting = said(acme.get(f"{address_of(webhook)}/deliveries", state="waiting"))["items"]
    assert waiting == [items[1]]
    refused(acme.get(f"{address_of(webhook)}/deliveries", state="lost"), 400, "invalid_fields")


def test_one_is_sent_again_under_its_id_with_all_its_tries_before_it(
    acme: Module, receiver: Receiver, hooked: Hooked, sending: Sending, deliveries: Deliveries
) -> None:
    webhook = hooked(receiver)
    admitted()
    sending(lambda: states(deliveries) == ["delivered"])
    delivery_id = only(deliveries())["delivery_id"]
    again = f"{address_of(webhook)}/deliveries/{delivery_id}/redeliver"
    assert said(acme.post({}, path=again), 202)["state"] == "waiting"
    sending(lambda: states(deliveries) == ["delivered"])
    assert len(receiver.told) == 2
    assert len(set(receiver.ids())) == 1
    assert receiver.told[0].body == receiver.told[1].body
    assert (only(deliveries())["tries"], len(only(deliveries())["attempts"])) == (1, 2)
    refused(acme.post({}, path=again.replace(str(delivery_id), str(uuid7()))), 404, "not_found")


def test_one_that_is_being_sent_is_not_sent_beside_itself(
    acme: Module, receiver: Receiver, hooked: Hooked, sending: Sending, deliveries: Deliveries, change: Change
) -> None:
    webhook = hooked(receiver)
    admitted()
    sending(lambda: states(deliveries) == ["delivered"])
    change("UPDATE webhook_deliveries SET state = 'sending', due_at = now() + interval '1 h'")
    again = f"{address_of(webhook)}/deliveries/{only(deliveries())['delivery_id']}/redeliver"
    refused(acme.post({}, path=again), 409, "being_sent")


def test_what_was_missed_while_it_was_off_is_held_and_sent_when_asked_for(
    acme: Module, receiver: Receiver, hooked: Hooked, sending: Sending, deliveries: Deliveries
) -> None:
    webhook = hooked(receiver)
    admitted()
    sending(lambda: states(deliveries) == ["delivered"])
    switch(acme, webhook, on=False)
    missed = [admitted() for _ in range(3)]
    sending(lambda: states(deliveries) == ["delivered", "held", "held", "held"])
    span = {"since": LONG_AGO}
    refused(acme.post(span, path=f"{address_of(webhook)}/redeliver"), 409, "webhook_disabled")
    again = f"{address_of(webhook)}/deliveries/{deliveries()[1]['delivery_id']}/redeliver"
    refused(acme.post({}, path=again), 409, "webhook_disabled")
    switch(acme, webhook, on=True)
    sending(lambda: True)
    assert len(receiver.told) == 1, "the past is sent when somebody asks for it"
    assert said(acme.post(span, path=f"{address_of(webhook)}/redeliver"), 202) == {"redelivered": 3}
    sending(lambda: states(deliveries) == ["delivered"] * 4)
    assert {told.event["subject"] for told in receiver.told[1:]} == {str(each) for each in missed}


def test_a_span_has_two_ends_and_may_take_in_what_was_delivered(
    acme: Module, receiver: Receiver, hooked: Hooked, sending: Sending, deliveries: Deliveries, look: Look
) -> None:
    webhook = hooked(receiver)
    for count in (1, 2, 3):
        admitted()
        sending(lambda wanted=count: states(deliveries) == ["delivered"] * wanted)  # type: ignore[misc]
    times = [row["occurred_at"] for row in deliveries()]
    path = f"{address_of(webhook)}/redeliver"
    assert said(acme.post({"since": LONG_AGO}, path=path), 202)["redelivered"] == 0
    span = {"since": times[1].isoformat(), "until": times[2].isoformat(), "delivered_too": True}
    assert said(acme.post(span, path=path), 202)["redelivered"] == 1
    assert states(deliveries) == ["delivered", "waiting", "delivered"]
    backwards = {"since": times[2].isoformat(), "until": times[1].isoformat()}
    assert fields(refused(acme.post(backwards, path=path), 400, "invalid_fields")) == ["until"]


def test_a_span_that_is_too_much_sends_nothing(
    acme: Module, receiver: Receiver, hooked: Hooked, sending: Sending, deliveries: Deliveries, monkeypatch: Any
) -> None:
    webhook = hooked(receiver)
    admitted()
    admitted()
    sending(lambda: states(deliveries) == ["delivered"] * 2)
    monkeypatch.setattr(asked_of_deliveries, "MOST_AT_ONCE", 1)
    asked = {"since": LONG_AGO, "delivered_too": True}
    answer = acme.post(asked, path=f"{address_of(webhook)}/redeliver")
    assert fields(refused(answer, 400, "invalid_fields")) == ["since"]
    assert states(deliveries) == ["delivered"] * 2


def test_what_is_owed_to_a_webhook_that_was_taken_away_is_not_sent(
    acme: Module, receiver: Receiver, hooked: Hooked, sending: Sending, deliveries: Deliveries
) -> None:
    receiver.answer = (500, {}, b"")
    webhook = hooked(receiver)
    admitted()
    sending(lambda: [row["tries"] for row in deliveries()] == [1])
    assert acme.ask("DELETE", address_of(webhook)).status_code == 204
    sending(lambda: states(deliveries) == ["held"])
    admitted()
    sending(lambda: True)
    assert len(deliveries()) == 1
    assert len(receiver.told) == 1


@pytest.mark.parametrize(("days", "kept"), [(29, True), (31, False)])
def test_deliveries_are_forgotten_after_thirty_days_unless_they_are_still_owed(
    receiver: Receiver,
    hooked: Hooked,
    sending: Sending,
    deliveries: Deliveries,
    change: Change,
    control: Control,
    days: int,
    kept: bool,
) -> None:
    hooked(receiver)
    admitted()
    admitted()
    sending(lambda: states(deliveries) == ["delivered"] * 2)
    from apps.core.ids import first_id_at  # noqa: PLC0415 - beside its use

    for place, row in enumerate(deliveries()):
        born = first_id_at(datetime.now(UTC) - timedelta(days=days, minutes=place))
        change("UPDATE webhook_deliveries SET delivery_id = %s WHERE delivery_id = %s", born, row["delivery_id"])
    change("UPDATE webhook_deliveries SET state = 'waiting' WHERE delivery_id = %s", deliveries()[0]["delivery_id"])
    with control():
        assert upkeep.purge(limit=10) == (0 if kept else 1)
    assert states(deliveries) == (["waiting", "delivered"] if kept else ["waiting"])
