"""`manage.py run_clerk`: the loop that does what time alone does to tickets."""

from typing import Any

from django.core.management.base import BaseCommand

from workers import clerk


class Command(BaseCommand):
    """Look after tickets until SIGTERM; a second one waits to take over."""

    help = "Do what time alone does to tickets: overdue promises, escalations, closing; until SIGTERM."
    requires_system_checks = ()  # set-up has run them

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the clerk."""
        clerk.main()
