"""`manage.py route_simulate`: what edited routes would have done with what was told lately."""

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from apps.core.clock import DatabaseClock
from apps.notifications import rules, simulating
from apps.notifications.matching import BadMatcherError
from apps.tenancy.context import across_tenants


class Command(BaseCommand):
    """Compare the routes in force with the drafts, or with a file's."""

    help = "Compare the routes in force with the drafts (or with a file's) over what was told lately. Sends nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the span, and a file."""
        parser.add_argument("--days", type=int, default=30, help="how far back to look (default: 30)")
        parser.add_argument("--routes", type=Path, help="a JSON list of routes, in the place of the drafts")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the comparison."""
        with across_tenants():
            at = DatabaseClock.ask(connection).now()
            now = rules.in_force(now=at)
            try:
                then = rules.with_drafts(now=at)
                if options["routes"] is not None:
                    then = simulating.from_file(json.loads(options["routes"].read_text()), rules=now)
            except (OSError, ValueError, BadMatcherError, simulating.BadRoutesError) as error:
                raise CommandError(f"{options['routes']}: {error}") from error
            for line in simulating.compare(now=now, then=then, at=at, days=options["days"]).lines():
                self.stdout.write(line)
