"""`manage.py run_scheduler`: the loop that picks what runs next and brings back what got lost."""

from typing import Any

from django.core.management.base import BaseCommand

from opsplatform.celery import app
from workers.scheduler import Scheduler


class Command(BaseCommand):
    """Schedule until SIGTERM; a second one waits to take over."""

    help = "Pick what runs next, and bring back what got lost, until SIGTERM."
    requires_system_checks = ()  # set-up has run them

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the scheduler."""
        Scheduler(app=app).run()
