"""`manage.py load_catalogue FILE…`: contracts, policies, plans and subscriptions out of YAML, all or nothing."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error

from apps.tenancy.context import operator_reading
from opsplatform import catalogue_files


class Command(BaseCommand):
    """Loads catalogue files; safe to repeat."""

    help = "Load contracts, policies, plans and subscriptions from YAML files: all or nothing, safe to repeat."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Describe the options."""
        parser.add_argument("files", nargs="+", type=Path, help="YAML files, as docs/governance.md describes them")

    def handle(self, *args: Any, **options: Any) -> None:
        """Load, and say how much; exit 2 with a line for everything that is wrong."""
        try:
            with operator_reading():
                counts = catalogue_files.load(options["files"])
        except catalogue_files.BadCatalogueError as error:
            raise CommandError(str(error), returncode=2) from error
        except Error as error:
            raise CommandError(f"DATABASE_URL: {str(error).strip()}", returncode=2) from error
        self.stdout.write(", ".join(f"{count} {kind}" for kind, count in counts.items()) or "nothing to load")
