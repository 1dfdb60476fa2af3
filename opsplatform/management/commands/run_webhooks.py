"""`manage.py run_webhooks`: the loop that tells webhooks of events."""

from typing import Any

from django.core.management.base import BaseCommand

from workers import webhooks


class Command(BaseCommand):
    """Send until SIGTERM; a second one waits to take over."""

    help = "Send events to the webhooks that ask for them, until SIGTERM."
    requires_system_checks = ()  # set-up has run them

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the sender."""
        webhooks.main()
