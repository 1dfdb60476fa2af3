"""EMAIL_URL: where mail goes, as one address. Knows no framework.

smtp://user:password@mail.example.org:587/?tls=yes&from=ops@example.org&to=oncall@example.org
smtps://user:password@mail.example.org
consolemail://                       (written to the log of whoever sends it)
anymail+postmark://KEY@/?from=…&to=… (django-anymail, where it is installed; its settings as ANYMAIL asks)
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

CONSOLE: Final = "consolemail"
SMTP_PORT: Final = 25
SMTPS_PORT: Final = 465
SUBMISSION_PORT: Final = 587
FROM: Final = "operations@localhost"
_YES: Final = frozenset({"1", "yes", "true", "starttls"})


class BadEmailUrlError(ValueError):
    """The text is no address of mail; never says the text, which holds a password."""


class EmailUrl(NamedTuple):
    """Where mail goes, by which backend of Django's, from whom and, where nobody says otherwise, to whom."""

    backend: str
    host: str = ""
    port: int = 0
    username: str = ""
    password: str = ""
    starttls: bool = False
    tls: bool = False
    sender: str = FROM
    to: tuple[str, ...] = ()
    anymail: str = ""

    @property
    def configured(self) -> bool:
        """Whether mail leaves the machine."""
        return not self.backend.endswith("console.EmailBackend")

    @property
    def provider(self) -> str:
        """By whom it goes."""
        return self.anymail or self.host or "the log"

    def connecting(self) -> dict[str, Any]:
        """Return what Django's SMTP backend takes."""
        return {
            "host": self.host,
            "port": self.port,
            "username": self.username,
            "password": self.password,
            "use_tls": self.starttls,
            "use_ssl": self.tls,
        }


def parsed(url: str) -> EmailUrl:
    """Return what a URL says; raises `BadEmailUrlError`."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise BadEmailUrlError("a host and a port such as smtp://mail.example.org:587 would be right") from None
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    sender = query.get("from") or FROM
    to = tuple(each.strip() for each in query.get("to", "").split(",") if each.strip())
    username, password = unquote(parts.username or ""), unquote(parts.password or "")
    if parts.scheme == CONSOLE:
        return EmailUrl("django.core.mail.backends.console.EmailBackend", sender=sender, to=to)
    if parts.scheme.startswith("anymail+") and parts.scheme.removeprefix("anymail+").isalpha():
        esp = parts.scheme.removeprefix("anymail+")
        return EmailUrl(f"anymail.backends.{esp}.EmailBackend", password=username, sender=sender, to=to, anymail=esp)
    if parts.scheme not in {"smtp", "smtps"} or not host:
        raise BadEmailUrlError("smtp://, smtps://, anymail+<provider>:// or consolemail:// would be right")
    tls = parts.scheme == "smtps"
    starttls = not tls and query.get("tls", "").lower() in _YES
    usual = SMTPS_PORT if tls else SUBMISSION_PORT if starttls else SMTP_PORT
    backend = "django.core.mail.backends.smtp.EmailBackend"
    return EmailUrl(backend, host, port or usual, username, password, starttls, tls, sender, to)
