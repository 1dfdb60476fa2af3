"""`manage.py run_sealer`: the loop that numbers evidence and signs checkpoints."""

from typing import Any

from django.core.management.base import BaseCommand

from workers import sealer


class Command(BaseCommand):
    """Seal until SIGTERM; a second one waits to take over."""

    help = "Number committed evidence and sign checkpoints over it, until SIGTERM."
    requires_system_checks = ()  # set-up has run them

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the sealer."""
        sealer.main()
