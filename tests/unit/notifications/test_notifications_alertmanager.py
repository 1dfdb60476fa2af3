"""Alertmanager's payload in our words."""

from __future__ import annotations

import copy
from typing import Any

import orjson
import pytest

from apps.notifications.alertmanager import BadPayloadError, parsed, sent_by_alertmanager
from apps.notifications.operations.intake import MOST_DETAILS_BYTES

PAYLOAD: dict[str, Any] = {
    "version": "4",
    "groupKey": '{}:{alertname="HighLatency"}',
    "truncatedAlerts": 0,
    "status": "firing",
    "receiver": "operations",
    "groupLabels": {"alertname": "HighLatency"},
    "commonLabels": {"alertname": "HighLatency"},
    "commonAnnotations": {},
    "externalURL": "http://alertmanager:9093",
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "HighLatency", "severity": "page", "job": "api", "instance": "10.0.0.1:80"},
            "annotations": {"summary": "Latency is high.", "runbook_url": "https://wiki.example.org/latency"},
            "startsAt": "2026-01-01T00:00:00Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://prometheus:9090/graph",
            "fingerprint": "c2b5a1d0e9f87766",
        },
        {"status": "resolved", "labels": {"alertname": "Disk"}, "annotations": {}, "fingerprint": "aa"},
    ],
}


def test_it_is_known_from_ours() -> None:
    assert sent_by_alertmanager(PAYLOAD)
    assert not sent_by_alertmanager({"summary": "x", "severity": "error"})
    assert not sent_by_alertmanager([PAYLOAD])


def test_each_alert_is_a_signal() -> None:
    firing, resolved = parsed(PAYLOAD)
    assert (firing.action, firing.severity, firing.source, firing.component) == (
        "trigger", "critical", "api", "10.0.0.1:80",
    )  # fmt: skip
    assert (firing.summary, firing.kind, firing.dedup_key) == ("Latency is high.", "HighLatency", "c2b5a1d0e9f87766")
    assert firing.links == {"source": "http://prometheus:9090/graph", "runbook": "https://wiki.example.org/latency"}
    assert firing.details["label.job"] == "api"
    assert (resolved.action, resolved.summary, resolved.severity) == ("resolve", "Disk", "error")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", "3"),
        ("alerts", []),
        ("alerts", [7]),
        ("alerts", [{"status": "odd"}]),
        ("alerts", [{"status": ["firing"]}]),
        ("alerts", None),
    ],
)
def test_what_is_not_as_it_sends_it_is_refused_by_name(field: str, value: Any) -> None:
    body = {**copy.deepcopy(PAYLOAD), field: value}
    with pytest.raises(BadPayloadError) as refused:
        parsed(body)
    assert refused.value.field.startswith(field)


def test_an_alert_of_many_long_labels_is_not_lost_for_them() -> None:
    body = copy.deepcopy(PAYLOAD)
    body["alerts"][0]["labels"] |= {f"label_{number:02}": "é" * 200 for number in range(40)}
    (firing, _) = parsed(body)
    assert firing.details["label.alertname"] == "HighLatency"
    assert len(orjson.dumps(firing.details)) <= MOST_DETAILS_BYTES
