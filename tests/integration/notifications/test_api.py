"""Saying something and asking about it over HTTP: PagerDuty's words, Alertmanager's payload, and the walls."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.integration.conftest import Look
from tests.integration.notifications.conftest import NOTIFICATIONS, NOTIFY, SCOPES, resolve, trigger
from tests.support.api import Module, fields, refused, said
from tests.unit.notifications.test_notifications_alertmanager import PAYLOAD

ALERTMANAGER = shutil.which("prometheus-alertmanager")


class TestSaying:
    """What a module may say."""

    def test_an_alert_has_what_pagerduty_has(self, acme: Module) -> None:
        body = {
            "event_action": "trigger", "severity": "warning", "summary": "Disk is full.", "source": "storage",
            "component": "disk-1", "group": "nodes", "class": "disk", "dedup_key": "disk-1",
            "custom_details": {"used": 0.97, "node": "n7", "full": True},
            "links": [{"href": "https://wiki.example.org/disk", "text": "runbook"}],
        }  # fmt: skip
        told = said(acme.post(body, path=NOTIFY), 202)
        assert told == {
            "notification_id": told["notification_id"], "dedup_key": "disk-1", "status": "pending", "resolved": False,
        }  # fmt: skip
        seen = said(acme.get(f"{NOTIFICATIONS}/{told['notification_id']}"))
        for name in ("severity", "summary", "source", "component", "group", "class", "custom_details", "links"):
            assert seen[name] == body[name]
        assert seen["tenant_id"] == "acme"
        assert [(each["action"], each["by"]) for each in seen["signals"]] == [("trigger", "data-acquisition")]

    def test_without_a_source_it_is_the_module_itself(self, acme: Module) -> None:
        told = said(acme.post({"summary": "Something."}, path=NOTIFY), 202)
        seen = said(acme.get(f"{NOTIFICATIONS}/{told['notification_id']}"))
        assert (seen["source"], seen["severity"], seen["dedup_key"]) == (
            "data-acquisition", "error", told["notification_id"],
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("field", "body"),
        [
            ("summary", {}),
            ("severity", {"summary": "x", "severity": "fatal"}),
            ("colour", {"summary": "x", "colour": "red"}),
            ("dedup_key", {"event_action": "resolve"}),
            ("audience", {"summary": "x", "audience": ["everybody"]}),
            ("custom_details.rows", {"summary": "x", "custom_details": {"rows": [1, 2]}}),
            ("custom_details.text", {"summary": "x", "custom_details": {"text": "x" * 500}}),
            ("links.0.href", {"summary": "x", "links": [{"href": "javascript:alert(1)"}]}),
        ],
    )
    def test_what_is_wrong_is_named(self, acme: Module, field: str, body: dict[str, Any]) -> None:
        assert fields(refused(acme.post(body, path=NOTIFY), 400, "invalid_fields")) == [field]

    def test_of_nothing_there_is_no_end(self, acme: Module) -> None:
        body = {"event_action": "resolve", "dedup_key": "never"}
        refused(acme.post(body, path=NOTIFY), 404, "nothing_open")

    def test_a_key_for_idempotency_answers_twice_and_says_once(self, acme: Module, look: Look) -> None:
        first, second = (acme.post({"summary": "Once."}, path=NOTIFY, **{"Idempotency-Key": "one"}) for _ in range(2))
        assert said(first, 202) == said(second, 202)
        assert len(look("SELECT 1 FROM notification_signals")) == 1

    def test_a_platforms_module_speaks_of_the_platform_or_of_a_tenant(self, platform: Module, look: Look) -> None:
        trigger(platform)
        trigger(platform, tenant_id="globex")
        assert [row["tenant_id"] for row in look("SELECT tenant_id FROM notifications ORDER BY id")] == [None, "globex"]

    def test_scopes_are_asked_for(self, db: None) -> None:
        refused(Module("acme", scope="notify:read").post({"summary": "x"}, path=NOTIFY), 403, "missing_scope")
        refused(Module("acme", scope="notify:send").get(NOTIFICATIONS), 403, "missing_scope")


class TestReading:
    """What a module may read."""

    def test_a_list_is_newest_first_and_by_cursor(self, acme: Module) -> None:
        made = [trigger(acme, dedup_key=f"k{number}")["notification_id"] for number in range(5)]
        first = said(acme.get(NOTIFICATIONS, limit=3))
        second = said(acme.get(NOTIFICATIONS, limit=3, cursor=first["next"]))
        ids = [item["notification_id"] for item in (*first["items"], *second["items"])]
        assert ids == made[::-1]
        assert second["next"] is None

    def test_filters_keep_what_they_should(self, acme: Module) -> None:
        one, other = trigger(acme, dedup_key="a", severity="info"), trigger(acme, dedup_key="b", source="other")
        resolve(acme, "b")

        def ids(**asked: str) -> list[str]:
            return [item["notification_id"] for item in said(acme.get(NOTIFICATIONS, **asked))["items"]]

        assert ids(severity="info") == [one["notification_id"]]
        assert ids(source="other") == ids(resolved="true") == ids(dedup_key="b") == [other["notification_id"]]
        assert fields(refused(acme.get(NOTIFICATIONS, status="odd"), 400, "invalid_fields")) == ["status"]

    def test_a_tenant_sees_neither_anothers_nor_the_platforms(self, acme: Module, platform: Module) -> None:
        others = [trigger(platform)["notification_id"], trigger(platform, tenant_id="globex")["notification_id"]]
        assert said(acme.get(NOTIFICATIONS))["items"] == []
        for each in others:
            refused(acme.get(f"{NOTIFICATIONS}/{each}"), 404, "not_found")
        assert len(said(platform.get(NOTIFICATIONS))["items"]) == 2

    def test_a_tenant_ends_nothing_of_anothers_by_its_key(self, acme: Module, look: Look) -> None:
        trigger(Module("globex", scope=SCOPES), dedup_key="same")
        refused(acme.post({"event_action": "resolve", "dedup_key": "same"}, path=NOTIFY), 404, "nothing_open")
        assert look("SELECT resolved FROM notifications") == [{"resolved": False}]


class TestAlertmanager:
    """Its payload, as it is."""

    def test_each_alert_is_a_notification_and_its_end_resolves_it(self, acme: Module, look: Look) -> None:
        first, second = said(acme.post(PAYLOAD, path=NOTIFY), 202)["notifications"]
        assert second is None, "the end of one that was never told"
        assert (first["dedup_key"], first["resolved"]) == ("c2b5a1d0e9f87766", False)
        assert said(acme.post(PAYLOAD, path=NOTIFY), 202)["notifications"][0] == first
        over = {**PAYLOAD, "alerts": [{**PAYLOAD["alerts"][0], "status": "resolved"}]}
        assert said(acme.post(over, path=NOTIFY), 202)["notifications"][0]["resolved"]

    def test_a_platforms_alerts_go_to_the_tenants_their_labels_name(self, platform: Module, look: Look) -> None:
        alerts = [
            {"status": "firing", "labels": {"alertname": "A", "tenant": tenant}, "fingerprint": tenant}
            for tenant in ("acme", "no-such-tenant")
        ]
        said(platform.post({**PAYLOAD, "alerts": alerts}, path=NOTIFY), 202)
        rows = look("SELECT tenant_id, dedup_key FROM notifications ORDER BY dedup_key")
        assert rows == [
            {"tenant_id": "acme", "dedup_key": "acme"},
            {"tenant_id": None, "dedup_key": "no-such-tenant"},
        ], "no alert is lost for a label"

    def test_a_tenants_alerts_are_its_own_whatever_their_labels_say(self, acme: Module, look: Look) -> None:
        alert = {"status": "firing", "labels": {"alertname": "A", "tenant": "globex"}, "fingerprint": "f"}
        said(acme.post({**PAYLOAD, "alerts": [alert]}, path=NOTIFY), 202)
        assert look("SELECT tenant_id FROM notifications") == [{"tenant_id": "acme"}]

    def test_what_it_would_never_send_is_refused_by_name(self, acme: Module) -> None:
        assert fields(refused(acme.post({**PAYLOAD, "version": "3"}, path=NOTIFY), 400, "invalid_fields")) == [
            "version"
        ]

    @pytest.mark.skipif(ALERTMANAGER is None, reason="prometheus-alertmanager is not installed (Debian has it)")
    def test_a_real_one_is_understood(self, acme: Module, tmp_path: Path, look: Look) -> None:
        with forwarding(acme) as url, alertmanager(tmp_path, receiver=url) as api:
            alert = {
                "labels": {"alertname": "HighLatency", "severity": "critical"},
                "annotations": {"summary": "Slow."},
            }
            ask(f"{api}/api/v2/alerts", [alert])
            until(lambda: look("SELECT 1 FROM notifications WHERE kind = 'HighLatency' AND summary = 'Slow.'"))
            ask(f"{api}/api/v2/alerts", [{**alert, "endsAt": "2020-01-01T00:00:00Z"}])
            until(lambda: look("SELECT 1 FROM notifications WHERE kind = 'HighLatency' AND resolved"))


@contextmanager
def forwarding(module: Module) -> Iterator[str]:
    """Let a real server take what Alertmanager posts, and the API answer it."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            bodies.append(body)
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    bodies: list[bytes] = []
    POSTED.append((bodies, module))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        POSTED.clear()


# What came, and who brings it to the API: in the test's own thread, which has the database.
POSTED: list[tuple[list[bytes], Module]] = []


@contextmanager
def alertmanager(folder: Path, *, receiver: str) -> Iterator[str]:
    """Run a real Alertmanager that posts to `receiver`."""
    port = free_port()
    (folder / "am.yml").write_text(
        "route: {receiver: operations, group_wait: 0s, group_interval: 1s, repeat_interval: 1h}\n"
        f"receivers: [{{name: operations, webhook_configs: [{{url: '{receiver}', send_resolved: true}}]}}]\n"
    )
    command = [
        str(ALERTMANAGER), f"--config.file={folder}/am.yml", f"--storage.path={folder}/data",
        "--cluster.listen-address=", f"--web.listen-address=127.0.0.1:{port}", "--log.level=error",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: reachable(port))
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(10)


def until(there: Callable[[], object], *, within_s: float = 30) -> None:
    end = time.monotonic() + within_s
    while not there():
        assert time.monotonic() < end, f"not within {within_s} s"
        for bodies, module in POSTED:
            while bodies:
                said(module.post(bodies.pop(0), path=NOTIFY), 202)
        time.sleep(0.02)  # the one pause of a wait on a condition


def ask(url: str, body: Any) -> None:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - loopback
        assert answer.status == 200


def reachable(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
