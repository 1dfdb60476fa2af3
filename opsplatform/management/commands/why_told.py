"""`manage.py why_told ID [--for WHOM]`: who was told of an event or a notification, by which way, and why."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.core.ids import BadIdError, parse_id
from apps.notifications.explaining import explain
from apps.tenancy.context import across_tenants
from opsplatform.wiring import REACTIONS

OURS = "apps.notifications.reactions."


class Command(BaseCommand):
    """Tell the story of one id."""

    help = "Say who was told of an event or a notification, by which way and why; or why nobody was."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the id, and whom to answer about."""
        parser.add_argument("id", help="of an event or of a notification")
        parser.add_argument("--for", dest="whom", help="operators, tenant, person:…, module:…, or a channel's name")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the story."""
        try:
            asked_about = parse_id(options["id"])
        except BadIdError as error:
            raise CommandError(str(error)) from error
        heard = [event for event, paths in REACTIONS.items() if any(path.startswith(OURS) for path in paths)]
        with across_tenants():
            for line in explain(asked_about, whom=options["whom"], heard=heard):
                self.stdout.write(line)
