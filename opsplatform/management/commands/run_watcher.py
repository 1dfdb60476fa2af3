"""`manage.py run_watcher`: the loop that looks who lives, and has something done about who does not."""

from typing import Any

from django.core.management.base import BaseCommand

from opsplatform.celery import app
from opsplatform.inventory import inventory
from workers.watcher import Watcher


class Command(BaseCommand):
    """Watch until SIGTERM; a second one waits to take over."""

    help = "Look who lives, tell of who does not, and begin recovery, until SIGTERM."
    requires_system_checks = ()  # set-up has run them

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the watcher."""
        Watcher(app=app, consists_of=inventory).run()
