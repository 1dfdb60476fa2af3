"""`manage.py notification_channel NAME KIND < settings`: a channel, for whoever sets up a plane without a browser."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import IntegrityError

from apps.notifications import kinds
from apps.notifications.models import Channel
from apps.notifications.operations import channels, routes
from apps.tenancy.context import operator_reading


class Command(BaseCommand):
    """Make a channel; its settings come by standard input, so that no list of processes shows them."""

    help = "Make a notification channel. Its settings are read from standard input, one `name: value` a line."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take what is no secret."""
        parser.add_argument("name")
        parser.add_argument("kind", help=f"one of {', '.join(kinds.names())}")
        parser.add_argument("--fallback", help="the channel that tells where this one fails or takes too long")
        parser.add_argument("--region", action="append", help="that it may carry; may be repeated")
        parser.add_argument("--route", action="append", metavar="MATCHER", help="lay a route to it; may be repeated")

    def handle(self, *args: Any, **options: Any) -> None:
        """Make the channel and, if asked, a route to it; print the channel's id."""
        lines = [line.partition(":") for line in sys.stdin.read().splitlines() if line.strip()]
        settings = {name.strip(): value.strip() for name, _, value in lines}
        with operator_reading():
            try:
                made = channels.create(
                    name=options["name"],
                    kind=options["kind"],
                    settings=settings,
                    fallback=self._channel(options["fallback"]),
                    regions=options["region"],
                    by="manage.py",
                )
            except (kinds.BadSettingError, kinds.NoSuchKindError) as error:
                raise CommandError(str(error)) from error
            except IntegrityError as error:
                raise CommandError(f"there is a channel {options['name']!r} already") from error
            if options["route"] is not None:
                values = {"name": options["name"], "matchers": options["route"], "channel_id": made, "goes_on": True}
                routes.lay(values, by="manage.py")
            for warning in channels.warnings_about(channel_id=made):
                self.stderr.write(warning)
        self.stdout.write(str(made))

    def _channel(self, name: str | None) -> Any:
        if name is None:
            return None
        found = Channel.objects.filter(name=name).values_list("pk", flat=True).first()
        if found is None:
            raise CommandError(f"there is no channel {name!r}")
        return found
