"""`manage.py run_emitter`: the loop that offers sealed evidence to the sink."""

from typing import Any

from django.core.management.base import BaseCommand

from workers import emitter


class Command(BaseCommand):
    """Emit until SIGTERM; a second one waits to take over."""

    help = "Offer sealed evidence to the sink until it is accepted, until SIGTERM."
    requires_system_checks = ()  # set-up has run them

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the emitter."""
        emitter.main()
