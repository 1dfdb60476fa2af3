"""Mail, by Django's backends: SMTP of EMAIL_URL or of the channel's own, or any provider django-anymail knows."""

from __future__ import annotations

import smtplib
from email.utils import parseaddr
from http import HTTPStatus
from typing import Any, Final

from django.conf import settings as django_settings
from django.core.mail import EmailMessage, get_connection

from apps.core.email_url import BadEmailUrlError, EmailUrl, parsed
from apps.notifications import wording
from apps.notifications.kinds import BadSettingError, Field, Kind, Message, Settings
from apps.notifications.lifecycle import Answer

STEP_WITHIN_S: Final = 8.0  # each step of SMTP's conversation
REFUSED_FOR_GOOD: Final = 500


def send(message: Message, settings: Settings) -> Answer:
    """Send one mail and return what came of it."""
    url = _url(settings)
    mail = EmailMessage(
        subject=wording.subject(message),
        body=wording.text(message),
        from_email=settings.get("from") or url.sender,
        to=_recipients(settings, url),
        headers={
            # The same for every try: a mailbox that got it twice shows it once.
            "Message-ID": f"<{message.message_id}@operations>",
            "X-Operations-Notification": str(message.items[0].notification_id),
            "Auto-Submitted": "auto-generated",
        },
        connection=_connection(url),
    )
    try:
        mail.send()
    except smtplib.SMTPRecipientsRefused as error:
        return _refused(max(code for code, _ in error.recipients.values()), "recipients_refused")
    except smtplib.SMTPResponseException as error:
        return _refused(error.smtp_code, "refused")
    except smtplib.SMTPServerDisconnected as error:
        return Answer(accepted=False, error="too_slow" if isinstance(error.__context__, TimeoutError) else "dropped")
    except (smtplib.SMTPException, OSError) as error:
        return Answer(accepted=False, error="too_slow" if isinstance(error, TimeoutError) else "unreachable")
    except Exception as error:  # noqa: BLE001 - a provider's own errors, of which some say an HTTP status
        status = getattr(error, "status_code", None)
        return Answer(accepted=False, status=status, error="provider_refused", permanent=_for_good(status))
    return Answer(accepted=True)


def provider(settings: Settings) -> str:
    """Return the host, or the provider, that takes the mail."""
    return f"mail:{_url(settings).provider}"


def check(settings: Settings) -> None:
    """Refuse what is no address of a mailbox or of a server; raises `BadSettingError`."""
    try:
        url = _url(settings)
    except BadEmailUrlError as error:
        raise BadSettingError("url", str(error)) from error
    if "url" in settings and url.anymail:
        raise BadSettingError("url", "django-anymail is configured for the whole process, by EMAIL_URL")
    recipients = _recipients(settings, url)
    if not recipients:
        raise BadSettingError("to", "needed: addresses, separated by commas (EMAIL_URL names none)")
    for address in [*recipients, *([settings["from"]] if "from" in settings else [])]:
        if "@" not in parseaddr(address)[1] or "\n" in address or "\r" in address:
            raise BadSettingError("to", "an address such as oncall@example.org would be right")


def _url(settings: Settings) -> EmailUrl:
    return parsed(settings.get("url") or django_settings.ENVIRONMENT.email_url)


def _recipients(settings: Settings, url: EmailUrl) -> list[str]:
    given = [each.strip() for each in settings.get("to", "").split(",") if each.strip()]
    return given or list(url.to)


def _connection(url: EmailUrl) -> Any:
    if url.backend.endswith("smtp.EmailBackend"):
        return get_connection(url.backend, timeout=STEP_WITHIN_S, **url.connecting())
    return get_connection(url.backend)


def _refused(code: int, error: str) -> Answer:
    return Answer(accepted=False, status=code, error=error, permanent=code >= REFUSED_FOR_GOOD)


def _for_good(status: int | None) -> bool:
    return status in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}


KIND = Kind(
    name="email",
    title="E-mail",
    fields=(
        Field(name="to", says="addresses, separated by commas; empty = the `to` of EMAIL_URL", required=False),
        Field(name="from", says="who it is from; empty = the `from` of EMAIL_URL", required=False),
        Field(
            name="url", says="smtp://user:password@host:port/?tls=yes; empty = EMAIL_URL", secret=True, required=False
        ),
    ),
    send=send,
    provider=provider,
    check=check,
    most=1000,
    tested_by="to",
)
