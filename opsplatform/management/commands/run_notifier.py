"""`manage.py run_notifier`: the loop that tells people, and sees to it that they were told."""

from typing import Any

from django.core.management.base import BaseCommand

from workers import notifier


class Command(BaseCommand):
    """Notify until SIGTERM; a second one waits to take over."""

    help = "Send notifications by their channels, until SIGTERM."
    requires_system_checks = ()  # set-up has run them

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the notifier."""
        notifier.main()
