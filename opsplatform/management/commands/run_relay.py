"""`manage.py run_relay`: the loop that numbers events and delivers them."""

from typing import Any

from django.core.management.base import BaseCommand

from workers import relay


class Command(BaseCommand):
    """Relay until SIGTERM; a second one waits to take over."""

    help = "Number committed events and deliver them, until SIGTERM."
    requires_system_checks = ()  # set-up has run them

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the relay."""
        relay.main()
