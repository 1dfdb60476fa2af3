"""The environment, read once: every setting of the plane that a person may set, validated and typed.

Pure reading: nothing here connects, creates or writes. A value that cannot be used raises `BadSettingError`, whose
sentence names the variable and says what would be right.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import parse_qs, unquote, urlsplit

from apps.core import addresses
from apps.core.email_url import BadEmailUrlError
from apps.core.email_url import parsed as parsed_email_url
from apps.evidence.cosigning import Witness
from apps.evidence.notes import BadNoteError
from apps.jobs.bundling import MOST_JOBS

CHECKOUT = Path(__file__).resolve().parents[2]

DatabaseRole = Literal["owner", "app", "control", "login"]
DATABASE_ROLES: tuple[DatabaseRole, ...] = ("owner", "app", "control", "login")

# Where the services would be if they ran: a command that needs no database (help, schema, makemigrations) still works.
NOWHERE_DATABASE = "postgresql://ops@127.0.0.1:1/ops"
NOWHERE_BROKER = "redis://127.0.0.1:1/0"


# A server that is cut off answers nothing, not even a refusal. Without these a session waits for it for a quarter of an
# hour; with them it fails within 6 s, before a worker's lease of 15 s is over. (Milliseconds, seconds, seconds, tries.)
HALF_OPEN = {"tcp_user_timeout": 6000, "keepalives_idle": 4, "keepalives_interval": 1, "keepalives_count": 2}


class BadSettingError(ValueError):
    """A setting cannot be used; the message names it and says what would be right."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What the surroundings say, whole and valid."""

    home: Path
    local: bool
    host: str
    port: int
    flower_port: int
    database_url: str
    database_role: DatabaseRole
    broker_url: str
    events_url: str
    embedded_database: bool
    keys: Path
    trusted_issuers: Path | None
    job_types: tuple[str, ...]
    migrations: tuple[Path, ...]
    governance_url: str | None
    subscription_url: str | None
    evidence_url: str | None
    evidence_witness: str | None
    sink: Path
    storage_url: str
    bundle_max: int
    public_url: str | None
    secret_key: str | None
    allowed_hosts: tuple[str, ...]
    hosts_named: bool
    debug: bool
    sentry_dsn: str | None
    otlp_endpoint: str | None
    email_url: str
    process: str

    def database(self) -> dict[str, Any]:
        """Return `database_url` as Django's connection parameters, role and time-outs included."""
        return database_parameters(url=self.database_url, role=self.database_role)


def read(variables: Mapping[str, str] = os.environ) -> Environment:
    """Return the environment that `variables` describe; raise `BadSettingError` naming the first bad one."""
    home = Path(variables.get("OPS_HOME") or CHECKOUT / ".ops").expanduser().resolve()
    services = _running_services(home)
    broker_url = variables.get("BROKER_URL") or services.get("broker_url") or NOWHERE_BROKER
    _scheme("BROKER_URL", broker_url, ("redis", "rediss"))
    database_url = variables.get("DATABASE_URL") or services.get("database_url") or NOWHERE_DATABASE
    _scheme("DATABASE_URL", database_url, ("postgresql", "postgres"))
    database_parameters(url=database_url, role="app")  # a port that is none is said now, not at the first connection
    events_url = variables.get("OPS_EVENTS_URL") or broker_url
    _scheme("OPS_EVENTS_URL", events_url, ("redis", "rediss"))
    for name in ("OPS_GOVERNANCE_URL", "OPS_SUBSCRIPTION_URL", "OPS_EVIDENCE_URL"):
        if variables.get(name):
            _scheme(name, variables[name], ("http", "https"))
    kind = variables.get("OPS_ENV", "local")
    if kind not in {"local", "production"}:
        raise BadSettingError(f"OPS_ENV is {kind!r}: 'local' or 'production' would be right")
    role = variables.get("OPS_DATABASE_ROLE", "app")
    if role not in DATABASE_ROLES:
        raise BadSettingError(f"OPS_DATABASE_ROLE is {role!r}: one of {', '.join(DATABASE_ROLES)} would be right")
    issuers = variables.get("OPS_TRUSTED_ISSUERS")
    if issuers and not Path(issuers).expanduser().is_file():
        raise BadSettingError(f"OPS_TRUSTED_ISSUERS is {issuers!r}: there is no such file")
    port, flower_port = _port(variables, "OPS_PORT", 8000), _port(variables, "OPS_FLOWER_PORT", 5555)
    if port == flower_port:
        raise BadSettingError(f"OPS_PORT and OPS_FLOWER_PORT are both {port}: two ports would be right")
    storage_url = variables.get("OPS_STORAGE_URL") or (home / "storage").as_uri()
    if "://" not in storage_url:
        raise BadSettingError("OPS_STORAGE_URL is no URL: one such as file:///srv/storage would be right")
    host = variables.get("OPS_HOST") or "127.0.0.1"
    return Environment(
        home=home,
        local=kind == "local",
        host=host,
        port=port,
        flower_port=flower_port,
        database_url=database_url,
        database_role=role,
        broker_url=broker_url,
        events_url=events_url,
        embedded_database=not variables.get("DATABASE_URL"),
        keys=Path(variables.get("OPS_KEYS") or home / "keys").expanduser(),
        trusted_issuers=Path(issuers).expanduser() if issuers else None,
        job_types=_words(variables.get("OPS_JOB_TYPES", "")),
        migrations=_migrations(variables),
        governance_url=variables.get("OPS_GOVERNANCE_URL") or None,
        subscription_url=variables.get("OPS_SUBSCRIPTION_URL") or None,
        evidence_url=variables.get("OPS_EVIDENCE_URL") or None,
        evidence_witness=_witness(variables),
        sink=Path(variables.get("OPS_SINK_HOME") or home / "sink").expanduser(),
        storage_url=storage_url,
        bundle_max=_bundle_max(variables),
        public_url=_public_url(variables),
        secret_key=variables.get("OPS_SECRET_KEY") or None,
        allowed_hosts=_words(variables.get("OPS_ALLOWED_HOSTS", "")) or ("127.0.0.1", "localhost", "[::1]", host),
        hosts_named=bool(variables.get("OPS_ALLOWED_HOSTS")),
        debug=_flag(variables, "OPS_DEBUG"),
        sentry_dsn=variables.get("SENTRY_DSN") or None,
        otlp_endpoint=variables.get("OTEL_EXPORTER_OTLP_ENDPOINT") or None,
        email_url=_email_url(variables),
        process=variables.get("OPS_PROCESS") or "manage",
    )


def database_parameters(*, url: str, role: DatabaseRole) -> dict[str, Any]:
    """Return Django's parameters for `url`, the session entering `role` (`ops_<role>`) as it connects.

    The role is entered by libpq's `options`, so there is no moment in which a session has the login's wider rights.
    Time-outs bound what a dead server can cost: 2 s to connect, 15 s for a statement of the request path.
    """
    parts = urlsplit(url)
    settings = ["-c TimeZone=UTC", "-c jit=off"]
    if role != "login":
        settings.append(f"-c role=ops_{role}")
    if role == "app":
        settings += ["-c statement_timeout=15s", "-c idle_in_transaction_session_timeout=30s", "-c lock_timeout=5s"]
    if role == "control":
        # The loops' statements are planned once a session: left to itself PostgreSQL plans the longest ones anew each
        # time, at more than running them costs. One planned while a table was small would scan it whole for as long as
        # the session lives, however large the table grows; each of them has its index.
        settings += ["-c plan_cache_mode=force_generic_plan", "-c enable_seqscan=off"]
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    try:
        port = parts.port
    except ValueError as error:
        raise BadSettingError("DATABASE_URL: the port is not a number between 1 and 65535") from error
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")) or "ops",
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or "") or query.pop("host", ""),
        "PORT": str(port or ""),
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        "DISABLE_SERVER_SIDE_CURSORS": True,
        # Any number lets `apps.core.database.preparing` prepare; Django's own cursors bind on the client and never do.
        "OPTIONS": {"connect_timeout": 2, "prepare_threshold": 5, **HALF_OPEN, **query, "options": " ".join(settings)},
    }


def _running_services(home: Path) -> dict[str, Any]:
    """Return what the embedded services of `home` wrote about themselves; empty when there is nothing to read."""
    try:
        return cast("dict[str, Any]", json.loads((home / "run" / "services.json").read_text()))
    except (OSError, ValueError):
        return {}


def _email_url(variables: Mapping[str, str]) -> str:
    """Return where mail goes; the log, where nobody says otherwise."""
    text = variables.get("EMAIL_URL") or "consolemail://"
    try:
        parsed_email_url(text)
    except BadEmailUrlError as error:
        raise BadSettingError(f"EMAIL_URL: {error}") from error
    return text


def _public_url(variables: Mapping[str, str]) -> str | None:
    try:
        return addresses.public_url(variables)
    except ValueError as error:
        raise BadSettingError(str(error)) from error


def _witness(variables: Mapping[str, str]) -> str | None:
    """Return the public key of the witness at OPS_EVIDENCE_URL, in C2SP's form."""
    word = variables.get("OPS_EVIDENCE_WITNESS") or ""
    if not word:
        return None
    try:
        return Witness.of_word(word).word()
    except BadNoteError as error:
        raise BadSettingError(f"OPS_EVIDENCE_WITNESS: {error}") from error


def _migrations(variables: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the folders that hold the folders of migrations, besides those found by entry point."""
    found = []
    for word in filter(None, variables.get("OPS_MIGRATIONS", "").split(os.pathsep)):
        path = Path(word).expanduser()
        if not path.is_dir():
            raise BadSettingError(f"OPS_MIGRATIONS names {word!r}: there is no such folder")
        found.append(path.resolve())
    return tuple(found)


def _bundle_max(variables: Mapping[str, str]) -> int:
    """Return how many short jobs may travel in one message."""
    text = variables.get("OPS_BUNDLE_MAX") or str(MOST_JOBS)
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST_JOBS:
        raise BadSettingError(f"OPS_BUNDLE_MAX is {text!r}: a number from 1 to {MOST_JOBS} would be right")
    return int(text)


def _port(variables: Mapping[str, str], name: str, default: int) -> int:
    text = variables.get(name) or str(default)
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 2**16:
        raise BadSettingError(f"{name} is {text!r}: a port between 1 and 65535 would be right")
    return int(text)


def _flag(variables: Mapping[str, str], name: str) -> bool:
    text = variables.get(name, "0").lower()
    if text not in {"0", "1", "true", "false", ""}:
        raise BadSettingError(f"{name} is {text!r}: 0 or 1 would be right")
    return text in {"1", "true"}


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.replace(",", " ").split() if word)


def _scheme(name: str, url: str, allowed: tuple[str, ...]) -> None:
    if urlsplit(url).scheme not in allowed:
        raise BadSettingError(f"{name} does not begin with one of: {', '.join(f'{scheme}://' for scheme in allowed)}")
