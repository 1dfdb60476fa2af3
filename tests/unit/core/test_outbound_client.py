"""The guarded client: judged where it connects, led nowhere, and never held longer than its time."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from apps.core import outbound
from tests.support.receiver import receiving

HERE = (ipaddress.ip_network("127.0.0.0/8"),)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),  # noqa: S104 - judged, not bound
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("2002:7f00:1::", False),
        ("64:ff9b::7f00:1", False),
        ("2606:4700::1111", True),
    ],
)
def test_addresses_inside_are_known_in_every_disguise(address: str, public: bool) -> None:
    assert outbound.public(address) is public


def asked(url: str, **more: Any) -> int:
    with outbound.request(url, method="POST", networks=HERE, body=b"{}", **more) as response:
        response.read()
        return response.status


def port_of(url: str) -> int:
    return outbound.target(url).port


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """A name server of the test's: name → the address that each look-up finds, in turn, the last for ever."""
    known: dict[str, list[str]] = {}
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        found = known.get(host)
        if found is not None:
            host = found.pop(0) if len(found) > 1 else found[0]
        return real(host, port, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return known


def test_a_name_that_answers_otherwise_the_second_time_leads_nowhere(names: dict[str, list[str]]) -> None:
    with receiving() as judged, receiving(address="127.0.0.2") as behind:
        port = port_of(judged.url)
        names["rebound.test"] = ["127.0.0.1", "127.0.0.2"]
        assert asked(f"http://rebound.test:{port}/") == 204
        assert judged.told[0].headers["host"] == f"rebound.test:{port}"
        assert behind.told == []
        assert names["rebound.test"] == ["127.0.0.2"], "it was looked up once: what was judged is what was called"


def test_a_name_of_this_machine_is_not_called(names: dict[str, list[str]]) -> None:
    with receiving() as receiver:
        names["inside.test"] = ["127.0.0.1"]
        url = f"http://inside.test:{port_of(receiver.url)}/"
        with pytest.raises(outbound.ForbiddenAddressError), outbound.request(url, method="POST"):
            pass
        assert receiver.told == []


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "127.1", "[::ffff:127.0.0.1]", "localhost"])
def test_this_machine_is_known_however_it_is_written(host: str) -> None:
    with receiving() as receiver:
        url = f"http://{host}:{port_of(receiver.url)}/"
        with (
            pytest.raises((outbound.ForbiddenAddressError, outbound.UnreachableError)),
            outbound.request(url, method="POST"),
        ):
            pass
        assert receiver.told == []


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
def test_no_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    with receiving() as receiver, receiving() as proxy:
        monkeypatch.setenv(variable, proxy.url)
        assert asked(receiver.url) == 204
        assert proxy.told == []


def test_a_redirect_is_an_answer_like_another() -> None:
    with receiving() as elsewhere, receiving((307, {"Location": elsewhere.url}, b"")) as receiver:
        assert asked(receiver.url) == 307
        assert elsewhere.told == []


@contextmanager
def talking(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """Run a server that says to one caller whatever it likes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)

        def run() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                try:
                    talk(connection)
                except OSError:
                    """The caller has hung up, as it should."""

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        finally:
            thread.join(20)


def drip(text: bytes) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        connection.sendall(text)
        while True:
            connection.sendall(b"a")
            time.sleep(0.05)  # the host's way of being slow, which is the test

    return talk


@pytest.mark.parametrize("text", [b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 ", b""], ids=["header", "status", "noise"])
def test_a_host_that_drips_its_answer_is_cut_off(text: bytes) -> None:
    with talking(drip(text)) as url:
        began = time.monotonic()
        with pytest.raises(outbound.UnreachableError) as raised:
            asked(url, total_s=0.5)
        assert raised.value.slow
        assert time.monotonic() - began < 5


def test_a_host_that_says_nothing_is_cut_off() -> None:
    go_on = threading.Event()
    with talking(lambda _: (go_on.wait(20), None)[1]) as url:
        began = time.monotonic()
        with pytest.raises(outbound.UnreachableError) as raised:
            asked(url, total_s=0.5)
        go_on.set()
        assert raised.value.slow
        assert time.monotonic() - began < 5


def test_a_host_that_drips_its_body_is_cut_off() -> None:
    with talking(drip(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")) as url:
        began = time.monotonic()
        with pytest.raises(OSError, match=r"deadline|timed out"):
            asked(url, total_s=0.5)
        assert time.monotonic() - began < 5


def test_a_host_that_goes_on_for_ever_without_an_end_of_headers_is_cut_off() -> None:
    def talk(connection: socket.socket) -> None:
        while True:
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)

    with talking(talk) as url, pytest.raises(outbound.UnreachableError):
        asked(url, total_s=0.5)


def test_a_host_that_is_not_there_is_named_so_and_not_as_slow() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(outbound.UnreachableError) as raised:
        asked(f"http://127.0.0.1:{port}/")
    assert not raised.value.slow


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a.org/", "file:///etc/passwd", "http://", "http:///x", "http://u:p@a.org/", "http://u@a.org/",
        "http://a.org:x/", "http://a.org:99999/", "http://a.org/\nx", "http://a.org/ x", "//a.org", "a.org",
        "http://[::1/", "http://bücher.example/", "javascript:alert(1)", "http://a.org/\x7f", "http://a.org\t/",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(outbound.BadUrlError):
        outbound.target(url)


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("https://A.org", (True, "a.org", 443, "/")),
        ("http://a.org./x?y=1#z", (False, "a.org", 80, "/x?y=1")),
        ("https://[2606:4700::1111]:8443/x", (True, "2606:4700::1111", 8443, "/x")),
    ],
)
def test_an_address_is_read_as_it_is_called(url: str, wanted: tuple[Any, ...]) -> None:
    assert outbound.target(url) == wanted


def test_a_response_is_a_whole_answer_of_http_client() -> None:
    with (
        receiving((200, {"Retry-After": "7"}, b"body")) as receiver,
        outbound.request(receiver.url, method="POST", networks=HERE) as response,
    ):
        assert isinstance(response, http.client.HTTPResponse)
        assert outbound.retry_after(response) == 7
        assert response.read() == b"body"
