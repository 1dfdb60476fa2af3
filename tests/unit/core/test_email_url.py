"""EMAIL_URL, read."""

from __future__ import annotations

import pytest

from apps.core.email_url import BadEmailUrlError, parsed


def test_a_server_with_a_login() -> None:
    url = parsed("smtp://ada:p%40ss@mail.example.org/?tls=yes&from=ops@example.org&to=a@example.org,b@example.org")
    assert (url.host, url.port, url.username, url.password) == ("mail.example.org", 587, "ada", "p@ss")
    assert (url.starttls, url.tls, url.sender, url.to) == (
        True, False, "ops@example.org", ("a@example.org", "b@example.org"),
    )  # fmt: skip
    assert url.configured
    assert url.provider == "mail.example.org"


@pytest.mark.parametrize(
    ("text", "port", "tls"), [("smtp://h", 25, False), ("smtps://h", 465, True), ("smtp://h:2525", 2525, False)]
)
def test_ports_and_tls(text: str, port: int, tls: bool) -> None:
    assert (parsed(text).port, parsed(text).tls) == (port, tls)


def test_the_log_is_no_mail() -> None:
    assert not parsed("consolemail://").configured


def test_a_provider_of_anymail() -> None:
    url = parsed("anymail+postmark://KEY@/?from=ops@example.org")
    assert (url.backend, url.password, url.provider) == ("anymail.backends.postmark.EmailBackend", "KEY", "postmark")


@pytest.mark.parametrize("text", ["http://u:secret@h", "smtp://u:secret@", "smtp://u:secret@h:port", "secret"])
def test_what_is_none_is_refused_without_being_said(text: str) -> None:
    with pytest.raises(BadEmailUrlError) as refused:
        parsed(text)
    assert "secret" not in str(refused.value)
