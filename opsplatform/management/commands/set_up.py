"""`manage.py set_up`: everything a plane needs before its processes start. Safe to repeat."""

from __future__ import annotations

import secrets
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import Error, connection

from apps.events import operations as event_log
from apps.evidence import keys as log_keys
from apps.tenancy import keys, operations
from apps.tenancy.context import operator_reading
from apps.tenancy.models import Role
from opsplatform import production, roles, seeds, wiring
from workers import reactor

LOCK = 0x6F707300
# The first logins, and the tenant whose own each is: None is staff, who see every tenant.
PEOPLE: dict[str, str | None] = {"operator": None, "approver": None, "acme": "acme", "globex": "globex"}


class Command(BaseCommand):
    """Keys, roles, tables, rights, seeds and the first logins, in that order, one set-up at a time."""

    help = "Prepare the database, keys and first logins; safe to repeat."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        """Set up, or say in one line what stands in the way (exit 2)."""
        environment = settings.ENVIRONMENT
        try:
            keys.ensure_keys(folder=environment.keys)
            log_keys.ensure(folder=environment.keys)
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_lock(%s)", [LOCK])
                complaint = None if environment.local else production.superuser_complaint()
                if complaint is not None:
                    raise CommandError(complaint, returncode=2)
                roles.create(cursor)
                cursor.execute("SET ROLE ops_owner")
                call_command("migrate", interactive=False, verbosity=min(options["verbosity"], 1) - 1)
                cursor.execute("RESET ROLE")
                roles.grant(cursor)
                # New reactions hear of what happens from now on. In the loops' role: the owner sees no events.
                cursor.execute("SET ROLE ops_control")
                event_log.begin(consumers=reactor.consumers(wiring.REACTIONS))
                cursor.execute("RESET ROLE")
            with operator_reading():
                seeds.lay(
                    local=environment.local,
                    storage_url=environment.storage_url,
                    email_url=environment.email_url,
                )
                if environment.local:
                    self._people()
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])
        except OSError as error:
            raise CommandError(f"{error.filename or environment.home}: {error.strerror}", returncode=2) from error
        except Error as error:
            raise CommandError(f"DATABASE_URL: {str(error).strip()}", returncode=2) from error
        if environment.local:
            self._flower()

    def _people(self) -> None:
        """Create the first people, whose passwords lie in `OPS_HOME/operator`; who is there keeps theirs."""
        users = get_user_model().objects
        file = settings.ENVIRONMENT.home / "operator"
        written = file.read_text().splitlines() if file.exists() else []
        lines = {line.partition(" ")[0]: line for line in written}
        there = set(users.filter(username__in=PEOPLE).values_list("username", flat=True))
        missing = [name for name in PEOPLE if name not in there or name not in lines]
        for name in missing:
            password = secrets.token_urlsafe(15)
            staff = PEOPLE[name] is None
            user, _ = users.get_or_create(username=name, defaults={"is_staff": staff, "is_superuser": staff})
            user.set_password(password)
            user.save()
            lines[name] = f"{name} {password}"
        for name, tenant_id in PEOPLE.items():
            if name in missing and tenant_id is not None:
                user_id = users.values_list("pk", flat=True).get(username=name)
                operations.put_membership(user_id=user_id, tenant_id=tenant_id, role=Role.VIEWER)
        if missing:
            _write_private(file, "".join(f"{line}\n" for line in lines.values()))

    def _flower(self) -> None:
        """Write Flower's own login, once."""
        file = settings.ENVIRONMENT.keys / "flower.auth"
        if not file.exists():
            _write_private(file, f"operator:{secrets.token_urlsafe(15)}\n")


def _write_private(file: Any, text: str) -> None:
    """Write `text` so that nobody but the owner could read it at any moment."""
    draft = file.with_name(f".{file.name}.new")
    draft.touch(mode=0o600, exist_ok=True)
    draft.chmod(0o600)
    draft.write_text(text)
    draft.replace(file)
