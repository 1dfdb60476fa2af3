"""Log lines: one JSON object each whoever logs, secrets out, and a full disk is nobody's failure."""

import gzip
import http.server
import io
import json
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import structlog

from apps.core import metrics
from opsplatform import logging as plane
from opsplatform.settings.environment import BadSettingError


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Configure logging onto a stream of the test's own; put everything back afterwards."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    plane.configure(process="web")
    yield stream
    root.handlers[:], root.level = before
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def told(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_ours_and_others_lines_have_one_form(lines: io.StringIO) -> None:
    structlog.contextvars.bind_contextvars(request_id="r-1")
    structlog.stdlib.get_logger("apps.jobs").info(
        "job_claimed", job_id="j", process="mine", name="n", module="m", args=1
    )
    logging.getLogger("django.db").warning("slow %s after %d ms", "query", 12, extra={"tenant": "acme"})
    logging.getLogger("gunicorn.error").info("Listening")
    logging.getLogger("celery.worker").error("gone")
    ours, *others = told(lines)
    assert (ours["event"], ours["job_id"], ours["level"], ours["logger"]) == ("job_claimed", "j", "info", "apps.jobs")
    assert (ours["name"], ours["module"], ours["args"]) == ("n", "m", 1)
    assert [line["event"] for line in others] == ["slow query after 12 ms", "Listening", "gone"]
    assert all(line["request_id"] == "r-1" and line["process"] == "web" and line["pid"] for line in (ours, *others))
    assert all(line["timestamp"].endswith("Z") for line in (ours, *others))


def test_a_callbacks_address_is_told_without_its_token(lines: io.StringIO) -> None:
    logging.getLogger("somebody").warning(
        'HTTP Request: POST https://ops.example.org/operations/callbacks/j.acme.mac "410"'
    )
    assert told(lines)[0]["event"] == 'HTTP Request: POST https://ops.example.org/operations/callbacks/*** "410"'


def test_a_traceback_is_part_of_its_line(lines: io.StringIO) -> None:
    try:
        int("postgresql://ops:hunter2@db/ops")
    except ValueError as error:
        structlog.stdlib.get_logger().error("broke", exc_info=error)
        structlog.stdlib.get_logger().exception("again")
        logging.getLogger("django").exception("theirs")
    assert len(told(lines)) == 3
    assert all("Traceback" in line["exception"] and "ValueError" in line["exception"] for line in told(lines))
    assert "hunter2" not in lines.getvalue()


def test_nothing_ends_a_line_early(lines: io.StringIO) -> None:
    structlog.stdlib.get_logger().info("a\r\nb", path='/x\n{"forged": true}\u2028\u0085')
    logging.getLogger("other").warning("c\nd")
    assert len(lines.getvalue().splitlines()) == 2
    assert lines.getvalue().isascii()


def test_secrets_do_not_reach_the_line(lines: io.StringIO) -> None:
    jwt = "eyJhbGciOiJFZDI1NTE5In0.eyJzdWIiOiJtIn0.c2lnbmF0dXJl"
    structlog.stdlib.get_logger().info(
        "call",
        authorization="Bearer hunter2",
        password="hunter2",
        DJANGO_SECRET="hunter2",
        broker_token=["hunter2"],
        apiKey="hunter2",
        sentry_dsn={"x": "hunter2"},
        Cookie=b"hunter2",
        headers={"Authorization": "hunter2", "X-Api-Key": "hunter2", "Accept": "kept"},
        url="redis://:hunter2@127.0.0.1:6379/0",
        other=["postgresql://ops:hunter2@db:5432/ops", {"deep": ("https://u:hunter2@h/",)}],
        said=f"sent Authorization: Bearer {jwt} and {jwt}",
        conninfo="host=db password=hunter2 user=ops",
    )
    logging.getLogger("kombu").error("Cannot connect to redis://:hunter2@127.0.0.1:6379/0")
    text = lines.getvalue()
    assert "hunter2" not in text
    assert "eyJ" not in text
    assert told(lines)[0]["headers"]["Accept"] == "kept"
    assert "127.0.0.1:6379/0" in told(lines)[0]["url"]


def test_what_only_sounds_like_a_secret_is_kept(lines: io.StringIO) -> None:
    structlog.stdlib.get_logger().info(
        "job", concurrency_key="c", dedup_key="d", token_id="t", tokens=3, monkey="m", keyboard="k", secretary="s"
    )
    (line,) = told(lines)
    kept = ("concurrency_key", "dedup_key", "token_id", "tokens", "monkey", "keyboard", "secretary")
    assert [line[name] for name in kept] == ["c", "d", "t", 3, "m", "k", "s"]


def test_a_value_json_has_no_word_for_is_spelt_out(lines: io.StringIO) -> None:
    structlog.stdlib.get_logger().info("x", value={1, 2}, nested={"a": object()}, half="\ud800")
    assert len(told(lines)) == 1


class FullDisk(io.StringIO):
    def write(self, _: str) -> int:
        raise OSError(28, "No space left on device")


def test_a_full_disk_is_counted_and_dropped(monkeypatch: pytest.MonkeyPatch, lines: io.StringIO) -> None:
    monkeypatch.setattr(sys, "stdout", FullDisk())
    plane.configure(process="web")
    before = lost()
    structlog.stdlib.get_logger().error("unheard")
    logging.getLogger("django").error("unheard as well")
    assert lost() == before + 2


def lost() -> float:
    text = metrics.exposition().decode()
    (line,) = [line for line in text.splitlines() if line.startswith("operations_log_lines_lost_total ")]
    return float(line.split()[1])


def test_configuring_twice_does_not_double_the_lines(lines: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", lines)  # pytest puts its own there between set-up and test
    plane.configure(process="web")
    logging.getLogger("x").warning("once")
    assert len(told(lines)) == 1


def test_a_request_is_told_once_and_a_scanner_is_no_error(lines: io.StringIO) -> None:
    logging.getLogger("django.request").error("Service Unavailable: %s", "/readyz")
    logging.getLogger("django.security.DisallowedHost").error("Invalid HTTP_HOST header")
    logging.getLogger("django.request").error("Internal Server Error", exc_info=RuntimeError("cause"))
    assert [line["event"] for line in told(lines)] == ["Internal Server Error"]


def test_a_commands_lines_keep_out_of_its_answer(
    monkeypatch: pytest.MonkeyPatch, lines: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    errors = io.StringIO()
    monkeypatch.setattr(sys, "stderr", errors)
    plane.configure(process="manage")
    logging.getLogger("x").warning("aside")
    assert lines.getvalue() == ""
    assert json.loads(errors.getvalue())["event"] == "aside"


def test_a_dsn_that_is_none_is_named(lines: io.StringIO) -> None:
    with pytest.raises(BadSettingError, match="SENTRY_DSN"):
        plane.configure(process="web", sentry_dsn="not a dsn")


REPORTING = """
import os, sys, logging, sentry_sdk, structlog
from opsplatform import logging as plane
plane.configure(process="worker-batch", sentry_dsn=sys.argv[1])
row = "a-tenants-row"
try:
    raise RuntimeError("redis://:hunter2@127.0.0.1:6379/0")
except RuntimeError:
    structlog.stdlib.get_logger("apps.jobs").exception("broke", token="hunter2", job_id="j-1")
structlog.stdlib.get_logger("apps.jobs").info("nothing to see")
sentry_sdk.flush(10)
"""


class Receiver(http.server.BaseHTTPRequestHandler):
    """Keeps what is sent to it."""

    received: ClassVar[list[bytes]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Stay quiet."""


def report(dsn: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", REPORTING, dsn],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )


def test_errors_reach_sentry_with_their_trace_and_without_secrets_or_data() -> None:
    Receiver.received.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            report(f"http://public@127.0.0.1:{server.server_address[1]}/1")
        finally:
            server.shutdown()
            thread.join()
    events = [json.loads(part.splitlines()[-1]) for part in Receiver.received if b'"type":"event"' in part]
    (event,) = events
    assert event["exception"]["values"][0]["type"] == "RuntimeError"
    assert event["exception"]["values"][0]["stacktrace"]["frames"]
    assert event["server_name"] == "worker-batch"
    sent = b"".join(Receiver.received)
    assert b"hunter2" not in sent
    assert b"a-tenants-row" not in sent
    assert b"j-1" in sent


def test_a_sentry_that_is_away_holds_nobody_up() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # bound and not listening: every connection is refused
        lines_told = report(f"http://public@127.0.0.1:{silent.getsockname()[1]}/1").stdout.splitlines()
    assert [json.loads(line)["event"] for line in lines_told][:2] == ["broke", "nothing to see"]
