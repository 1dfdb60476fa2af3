"""`manage.py run_migrator`: the loop that plans migrations and carries them on."""

from typing import Any

from django.core.management.base import BaseCommand

from workers import migrator


class Command(BaseCommand):
    """Carry migrations on until SIGTERM; a second one waits to take over."""

    help = "Plan migrations, carry them on wave by wave, watch them, pause or bring them back; until SIGTERM."
    requires_system_checks = ()  # set-up has run them

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the migrator."""
        migrator.main()
