"""Logging for every process: one JSON object a line, secrets out, errors on to Sentry where one is set.

Everything goes through the standard library's root logger, ours (structlog) and others' (Django, gunicorn, Celery)
alike, so there is one chain of processors, one place where secrets are taken out, and other handlers see ordinary
records. A line that cannot be written is counted and dropped: no job fails for it.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, Final, TextIO

import sentry_sdk
import structlog
from sentry_sdk.integrations.redis import RedisIntegration
from sentry_sdk.types import Event, Hint
from sentry_sdk.utils import BadDsn

from apps.core import addresses, metrics
from opsplatform.settings.environment import BadSettingError

REDACTED: Final = "[redacted]"
_SECRET_WORDS: Final = frozenset(
    {
        "authorization",
        "token",
        "tokens",
        "password",
        "passwd",
        "pwd",
        "secret",
        "key",
        "apikey",
        "dsn",
        "cookie",
        "cookies",
    }
)
# Named like secrets, and needed to follow a job through the log.
_HARMLESS: Final = frozenset({"concurrency_key", "dedup_key", "idempotency_key", "key_id", "token_id"})
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_SECRETS_IN_TEXT: Final = (
    (re.compile(r"(?P<keep>[a-zA-Z][a-zA-Z0-9+.-]*://)[^\s/@]+@"), rf"\g<keep>{REDACTED}@"),
    (re.compile(r"(?P<keep>(?i:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}"), rf"\g<keep>{REDACTED}"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"), REDACTED),
    (re.compile(r"(?P<keep>(?i:password|passwd|secret|token|api_?key)\s*[=:]\s*)[^\s,;&\"']+"), rf"\g<keep>{REDACTED}"),
    (addresses.SECRET, addresses.TOLD),
)
_DEEPEST: Final = 6
_QUIET: Final = {
    "django.security.DisallowedHost": logging.CRITICAL,  # any scanner can cause it; its request is told as a 400
    "django.server": logging.WARNING,
    "gunicorn.access": logging.WARNING,
    "urllib3": logging.WARNING,
    "kombu": logging.WARNING,
    "amqp": logging.WARNING,
}


class _Handler(logging.StreamHandler[TextIO]):
    """Writes lines; where the disk is full or the reader gone, counts the loss and goes on."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802, ARG002 - the standard library's name
        metrics.log_line_lost()


def configure(*, process: str, level: int = logging.INFO, sentry_dsn: str | None = None) -> None:
    """Set up logging for this process, which calls itself `process` (web, scheduler, worker-batch, manage, …).

    Lines go to standard output; those of `manage` to standard error, since a command's output is its answer. May be
    called again, and after a fork. Raises `BadSettingError` for a `sentry_dsn` that is none.
    """
    handler = _Handler(sys.stderr if process == "manage" else sys.stdout)
    handler.setFormatter(_formatter(process))
    root = logging.getLogger()
    for other in [old for old in root.handlers if isinstance(old, _Handler)]:
        root.removeHandler(other)
    root.addHandler(handler)
    root.setLevel(level)
    for name in ("django", "django.server", "gunicorn", "gunicorn.error", "gunicorn.access", "celery"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    for name, quiet in _QUIET.items():
        logging.getLogger(name).setLevel(quiet)
    logging.getLogger("django.request").addFilter(_has_a_cause)
    logging.captureWarnings(True)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, structlog.stdlib.PositionalArgumentsFormatter(), _to_record],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    if sentry_dsn:
        _report_errors(sentry_dsn, process=process)


def _has_a_cause(record: logging.LogRecord) -> bool:
    """Pass Django's lines about exceptions; those about a mere status repeat what `RequestContext` tells anyway."""
    return bool(record.exc_info)


def celery_keeps_off(*, loglevel: int | str | None = None, **_: Any) -> None:
    """Receive Celery's `setup_logging` signal: that somebody does is what keeps Celery from configuring logging itself.

    Connect it once, where the Celery app is made: `celery.signals.setup_logging.connect(celery_keeps_off)`. Celery's
    `--loglevel` then bounds Celery's own lines and no others.
    """
    if loglevel:
        logging.getLogger("celery").setLevel(loglevel)


def _to_record(_: Any, __: str, event: structlog.typing.EventDict) -> Mapping[str, Any]:
    """Hand a structlog event over as an ordinary record; its fields travel in one attribute, so no name can clash."""
    rest = {name: event.pop(name) for name in ("exc_info", "stack_info") if name in event}
    return {"msg": event.pop("event", ""), "extra": {"fields": event}, **rest}


def _formatter(process: str) -> structlog.stdlib.ProcessorFormatter:
    def place(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        fields = getattr(event["_record"], "fields", None)
        return {
            **event,
            **(fields if isinstance(fields, dict) else {}),
            "process": process,
            "pid": event["_record"].process,
        }

    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            place,
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            redact,
            structlog.processors.JSONRenderer(default=str),  # pure ASCII: a CR or LF in a value cannot end the line
        ],
    )


def redact(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Take secrets out of a log event: values under telling names, and credentials inside any text."""
    return {name: scrub(value, name=name) for name, value in event.items()}


def scrub(value: Any, *, name: str = "", depth: int = 0) -> Any:
    """Return `value` (JSON-like) without secrets; `name` is what it is called where it stands."""
    if _is_telling(name) and not isinstance(value, bool | int | float | None):
        return REDACTED
    if isinstance(value, str):
        for pattern, replacement in _SECRETS_IN_TEXT:
            value = pattern.sub(replacement, value)
        return value
    if depth > _DEEPEST:
        return "[too deep]" if isinstance(value, Mapping | list | tuple) else value
    if isinstance(value, Mapping):
        return {str(inner): scrub(item, name=str(inner), depth=depth + 1) for inner, item in value.items()}
    if isinstance(value, list | tuple):
        return [scrub(item, depth=depth + 1) for item in value]
    return value


def _is_telling(name: str) -> bool:
    return name.lower() not in _HARMLESS and not _SECRET_WORDS.isdisjoint(word.lower() for word in _WORD.findall(name))


def _report_errors(dsn: str, *, process: str) -> None:
    """Send errors, and nothing else, to Sentry from a thread of its own, with a bounded queue that drops when full.

    Personal data stays out by the library's default (`send_default_pii` unset; setting it warns of its end).
    """
    try:
        sentry_sdk.init(
            dsn=dsn,
            include_local_variables=False,  # a handler's locals are a tenant's data
            include_source_context=False,  # a literal in somebody's source may be a secret; file and line suffice
            max_request_body_size="never",
            before_send=_before_send,
            disabled_integrations=[RedisIntegration()],  # breadcrumbs of every broker command, keys included
            shutdown_timeout=1,
            server_name=process,
        )
    except BadDsn as error:
        raise BadSettingError(
            "SENTRY_DSN is not a Sentry DSN: https://<key>@<host>/<project> would be right"
        ) from error


def _before_send(event: Event, hint: Hint) -> Event | None:  # noqa: ARG001 - Sentry's signature
    scrubbed: Event = scrub(event, depth=-_DEEPEST)  # a stack trace lies deep
    return scrubbed
