"""What production refuses to start with. Locally all of it is fine: that is what local values are for.

`complaints` needs no database and is asked as every process starts; the superuser is found by the system check, which
`migrate`, `check` and `set_up` run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Critical, Tags, register
from django.db import Error, connection

from opsplatform.settings.environment import Environment

MIN_SECRET_CHARS = 32


def complaints(environment: Environment, *, secret_key: str, debug: bool, default_secret: str) -> list[str]:
    """Return why a production process may not start, each naming its setting; empty locally and when all is well."""
    if environment.local:
        return []
    found = []
    if secret_key == default_secret or environment.secret_key is None:
        found.append("OPS_SECRET_KEY is not set: production does not sign sessions with a default or generated secret")
    elif len(secret_key) < MIN_SECRET_CHARS:
        found.append(f"OPS_SECRET_KEY has {len(secret_key)} characters: at least {MIN_SECRET_CHARS} would be right")
    if debug:
        found.append("OPS_DEBUG is on: a debug page shows settings and data to whoever meets an error")
    if environment.embedded_database:
        found.append("DATABASE_URL is not set: the embedded PostgreSQL is for local use")
    if not environment.hosts_named:
        found.append("OPS_ALLOWED_HOSTS is not set: name the hosts this plane answers to")
    return found


def superuser_complaint() -> str | None:
    """Return why the database's login may not be used, or None. Raises `django.db.Error` if the database is away."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolname FROM pg_roles WHERE rolname = session_user AND (rolsuper OR rolbypassrls)")
        row = cursor.fetchone()
    if row is None:
        return None
    return f"DATABASE_URL signs in as {row[0]!r}, whom no row-level security holds: use a role without superuser rights"


@register(Tags.security)
def check_settings(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:  # noqa: ARG001 - Django's
    """Say what production would refuse."""
    found = complaints(
        settings.ENVIRONMENT,
        secret_key=settings.SECRET_KEY,
        debug=settings.DEBUG,
        default_secret=settings.INSECURE_SECRET_KEY,
    )
    return [Critical(text, id=f"ops.E{place:03}") for place, text in enumerate(found, start=1)]


@register(Tags.database)
def check_database_role(
    app_configs: Sequence[AppConfig] | None,  # noqa: ARG001 - Django's
    databases: Sequence[str] | None = None,
    **_: Any,
) -> list[CheckMessage]:
    """Say whether the login is one that no wall holds."""
    if settings.ENVIRONMENT.local or not databases:
        return []
    try:
        text = superuser_complaint()
    except Error:  # a database that is away is somebody else's sentence
        return []
    return [] if text is None else [Critical(text, id="ops.E010")]
