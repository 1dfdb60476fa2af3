"""`ingest.http` and `http.call` against a real server: only where an operator allowed it, whole or not at all."""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from apps.jobs import callbacks, harness
from workers.catalog import http_call, ingest_http, outbound, surroundings
from workers.catalog.surroundings import Grant

SECRET = "whsec_" + base64.b64encode(b"a key of the module's").decode()


class World(BaseHTTPRequestHandler):
    """A server that answers what the test says and remembers what it was asked."""

    protocol_version = "HTTP/1.1"
    answers: list[tuple[int, dict[str, str], bytes]]
    asked: list[tuple[str, dict[str, str], bytes]]

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        status, headers, answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.send_response(status)
        for name, value in {"Content-Length": str(len(answer)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)
        self.close_connection = True

    do_POST = do_GET  # noqa: N815 - the name http.server calls

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def world() -> Iterator[Any]:
    """A server on this machine."""
    handler = type("Handler", (World,), {"answers": [(200, {}, b"a\n1\n")], "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    handler.address = f"127.0.0.1:{server.server_port}"  # type: ignore[attr-defined]  # the class is made here
    try:
        yield handler
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def grants(tmp_path: Path, world: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An operator's files: acme may call the server, and has secrets."""
    keys = tmp_path / "keys"
    keys.mkdir()
    acme = {"hosts": [world.address], "networks": ["127.0.0.0/8"]}
    (keys / "outbound.json").write_text(json.dumps({"acme": acme, "public": {"hosts": [world.address]}}))
    (keys / "secrets.json").write_text(json.dumps({"acme": {"module": SECRET, "token": "t0ken-of-acme"}}))
    monkeypatch.setenv("OPS_KEYS", str(keys))
    return keys


def fetch(world: Any, storage: Path, path: str = "/a.csv", **options: Any) -> harness.RunResult:
    params = {"url": f"http://{world.address}{path}", "target": "incoming/a.csv", **options.pop("params", {})}
    return harness.run(ingest_http.ingest, params=params, storage=storage / "acme", **options)


def code(result: harness.RunResult) -> str | None:
    return result.error.code if result.error is not None else None


@pytest.fixture
def storage(tmp_path: Path, grants: Path) -> Path:
    """A folder of storages."""
    (tmp_path / "acme").mkdir()
    return tmp_path


def test_a_file_is_fetched_and_the_next_time_only_asked_about(world: Any, storage: Path) -> None:
    world.answers = [(200, {"ETag": '"1"', "Last-Modified": "x"}, b"a\n1\n"), (304, {}, b""), (200, {}, b"a\n2\n")]
    first = fetch(world, storage)
    assert (first.outcome, first.artifacts["file"].bytes, first.metrics["unchanged"]) == ("succeeded", 4, 0)
    assert "if-none-match" not in world.asked[0][1]
    second = fetch(world, storage)
    assert (second.outcome, second.metrics["unchanged"]) == ("succeeded", 1)
    assert second.artifacts["file"].digest == first.artifacts["file"].digest
    assert world.asked[1][1]["if-none-match"] == '"1"'
    (storage / "acme/incoming/a.csv").write_text("changed by somebody")
    assert fetch(world, storage).outcome == "succeeded"
    assert "if-none-match" not in world.asked[2][1], "what is there is not what was fetched"
    assert (storage / "acme/incoming/a.csv").read_text() == "a\n2\n"


def test_a_secret_goes_to_the_host_and_nowhere_else(world: Any, storage: Path) -> None:
    result = fetch(world, storage, params={"bearer_secret": "token"})
    assert world.asked[0][1]["authorization"] == "Bearer t0ken-of-acme"
    kept = "".join(path.read_text() for path in (storage / "acme").rglob("*") if path.is_file())
    assert "t0ken" not in kept + repr(result)
    assert code(fetch(world, storage, params={"bearer_secret": "other"})) == "secret_missing"
    assert code(fetch(world, storage, tenant_id="globex", params={"bearer_secret": "token"})) == "secret_missing"


@pytest.mark.parametrize(
    ("answer", "outcome", "said"),
    [
        ((302, {"Location": "http://10.0.0.1/"}, b""), "failed", "redirected"),
        ((404, {}, b"no"), "failed", "http_404"),
        ((503, {"Retry-After": "7"}, b""), "retry", "http_503"),
        ((200, {"Content-Length": "100"}, b"short"), "retry", "cut_off"),
        ((200, {}, b"x" * 2000), "failed", "too_large"),
        ((200, {"Content-Encoding": "gzip"}, b"x"), "failed", "encoded"),
        ((304, {}, b""), "failed", "http_304"),
    ],
    ids=["a redirect", "not there", "busy", "cut off", "too large", "encoded", "unchanged, unasked"],
)
def test_what_the_host_says_decides_about_another_attempt(
    world: Any, storage: Path, answer: Any, outcome: str, said: str
) -> None:
    world.answers = [answer]
    result = fetch(world, storage, params={"max_bytes": 1000})
    assert (result.outcome, code(result)) == (outcome, said)
    assert not (storage / "acme/incoming/a.csv").exists(), "whole or not at all"
    if said == "http_503":
        assert result.retry_in_s is not None
        assert result.retry_in_s >= 7


def test_only_what_an_operator_allowed_is_called(world: Any, storage: Path) -> None:
    assert code(fetch(world, storage, tenant_id="globex")) == "outbound_forbidden"
    assert code(fetch(world, storage, tenant_id="public")) == "outbound_forbidden", "a private address, by name allowed"
    other = {"url": "http://127.0.0.1:1/"}
    assert code(fetch(world, storage, params=other)) == "outbound_forbidden", "the host, but another port"
    assert world.asked == []


@pytest.mark.parametrize(
    ("host", "port", "named"),
    [("a.org", 443, True), ("a.org", 8443, False), ("b.org", 8443, True), ("b.org", 443, False), ("x.c.org", 80, True),
     ("c.org", 80, False), ("evil-c.org", 80, False), ("", 443, False)],
)  # fmt: skip
def test_a_grant_names_hosts_exactly(host: str, port: int, named: bool) -> None:
    assert outbound._named(host, port, grant=Grant(hosts=("a.org", "b.org:8443", "*.c.org"))) is named


@pytest.mark.parametrize("url", ["ftp://a.org/x", "http://u:p@a.org/", "file:///etc/passwd", "http://a.org/\nx"])
def test_an_address_of_another_form_is_refused_at_submission(storage: Path, url: str) -> None:
    with pytest.raises(harness.ParamsRefusedError):
        harness.run(ingest_http.ingest, params={"url": url, "target": "a"}, storage=storage)


def test_a_variable_holds_one_tenants_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPS_KEYS", str(tmp_path))
    monkeypatch.setenv("OPS_SECRET_A_B__C", "s")
    assert surroundings.secret(tenant_id="a-b", name="c") == "s"
    for tenant_id, name in (("a", "b__c"), ("a_b", "c"), ("a", "b_c")):
        with pytest.raises(surroundings.SecretMissingError):
            surroundings.secret(tenant_id=tenant_id, name=name)


def call(world: Any, storage: Path, **options: Any) -> harness.RunResult:
    params = {"url": f"http://{world.address}/work", "secret": "module", "body": {"dataset": "rain"}}
    return harness.run(http_call.call, params=params, storage=storage / "acme", **options)


def test_a_call_is_signed_and_its_answer_kept(world: Any, storage: Path) -> None:
    world.answers = [(200, {}, b'{"rows": 3}')]
    result = call(world, storage)
    assert result.outcome == "succeeded"
    assert (storage / f"acme/results/{result.job_id}/answer").read_bytes() == b'{"rows": 3}'
    _, headers, body = world.asked[0]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    due = base64.b64encode(hmac.new(b"a key of the module's", signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{due}"
    assert headers["webhook-id"] == result.job_id
    assert json.loads(body) == {"job_id": result.job_id, "tenant_id": "acme", "body": {"dataset": "rain"}}


def test_while_the_module_is_not_done_the_job_waits_without_a_slot(world: Any, storage: Path) -> None:
    world.answers = [(202, {"Retry-After": "30"}, b""), (200, {}, b"done")]
    first = call(world, storage, job_id="0198f3a2-7b1c-7d3e-8f4a-5b6c7d8e9f00")
    assert (first.outcome, code(first)) == ("retry", "not_yet")
    assert first.retry_in_s is not None
    assert first.retry_in_s >= 30
    second = call(world, storage, job_id=first.job_id, attempt=2)
    assert second.outcome == "succeeded"
    assert {headers["webhook-id"] for _, headers, _ in world.asked} == {first.job_id}


def test_a_call_says_where_to_call_back(world: Any, storage: Path, grants: Path, monkeypatch: Any) -> None:
    world.answers = [(200, {}, b"done")]
    (grants / "messages.key").write_bytes(b"k" * 32)
    first = call(world, storage)
    monkeypatch.setenv("OPS_PUBLIC_URL", "https://ops.example.org/")
    call(world, storage, job_id=first.job_id, attempt=2)
    said, again = (json.loads(body) for _, _, body in world.asked)
    token = said["callback"].removeprefix("/operations/callbacks/")
    assert callbacks.read(token, key=b"k" * 32) == (UUID(first.job_id), "acme")
    assert "callback_url" not in said, "nobody said where the plane is"
    assert again["callback"] == said["callback"], "the same at every attempt"
    assert again["callback_url"] == "https://ops.example.org" + said["callback"]


@pytest.mark.parametrize(("status", "outcome"), [(400, "failed"), (409, "failed"), (429, "retry"), (500, "retry")])
def test_a_call_that_is_refused(world: Any, storage: Path, status: int, outcome: str) -> None:
    world.answers = [(status, {}, b"a secret word of theirs")]
    result = call(world, storage)
    assert (result.outcome, code(result)) == (outcome, f"http_{status}")
    assert "secret word" not in repr(result)
