"""`manage.py issue_token`: prints a token signed by the local key pair, and nothing else. Needs no running service."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.core.clock import system_now
from apps.tenancy import keys, tokens


class Command(BaseCommand):
    """Issues tokens to whoever may read the plane's keys."""

    help = "Print a bearer token for a module, signed by the local key pair."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Describe the options."""
        parser.add_argument("--subject", required=True, help="the calling module, for instance data-acquisition")
        parser.add_argument(
            "--tenant", required=True, action="append", help="a tenant it acts for; again for more, '*' for all"
        )
        parser.add_argument("--scope", required=True, action="append", help="what it may do; again for more")
        parser.add_argument("--ttl", type=int, default=tokens.LONGEST_LIFE_S, help="seconds to live, at most 900")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the token; exit 2 naming the option that is wrong."""
        try:
            token = tokens.issue(
                subject=options["subject"],
                tenants=options["tenant"],
                scopes=options["scope"],
                ttl_s=options["ttl"],
                now=system_now(),
            )
        except tokens.BadTokenRequestError as error:
            raise CommandError(f"--{error.what}: {error}", returncode=2) from error
        except (keys.KeysMissingError, keys.BadKeyError) as error:
            raise CommandError(str(error), returncode=2) from error
        self.stdout.write(token)
