"""`manage.py run_reactor`: the loop in which the house reacts to its own events, as the wiring page says."""

from typing import Any

from django.core.management.base import BaseCommand

from opsplatform import wiring
from workers import reactor


class Command(BaseCommand):
    """React until SIGTERM; a second one waits to take over."""

    help = "React to events as the wiring page says, until SIGTERM."
    requires_system_checks = ()  # set-up has run them

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the reactor."""
        reactor.main(reactions=wiring.REACTIONS)
