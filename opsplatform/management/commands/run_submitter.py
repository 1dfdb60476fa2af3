"""`manage.py run_submitter`: the loop that fires schedules and triggers."""

from typing import Any

from django.core.management.base import BaseCommand

from workers import submitter


class Command(BaseCommand):
    """Submit until SIGTERM; a second one waits to take over."""

    help = "Submit what schedules and triggers ask for, until SIGTERM."
    requires_system_checks = ()  # set-up has run them

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the submitter."""
        submitter.main()
