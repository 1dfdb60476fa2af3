"""`manage.py recovery`: what the recovery policies would do now (`--dry-run`), or one of them done by hand.

manage.py recovery --dry-run [--policy restart-pool]
manage.py recovery --policy restart-pool --component operations/queue-default
"""

from __future__ import annotations

import getpass
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from apps.health import queries
from apps.health.models import Component, Policy
from apps.health.operations import recovery
from apps.tenancy.context import across_tenants
from workers.watcher import act


class Command(BaseCommand):
    """Rehearse what is called for, or act by hand; either leaves a receipt."""

    help = "Say what recovery would do now (--dry-run), or do one policy's action to one component by hand."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add --dry-run, --policy, --component."""
        parser.add_argument("--dry-run", action="store_true", help="rehearse: write receipts of it, do nothing")
        parser.add_argument("--policy", help="this policy alone; without it, every one that is enabled")
        parser.add_argument("--component", help="module/component to act on by hand, whatever its condition")

    def handle(self, *args: Any, **options: Any) -> None:
        """Rehearse or act; exit code 1 where the action failed, 2 where there is no such thing."""
        if not options["dry_run"] and not (options["policy"] and options["component"]):
            raise CommandError("--dry-run, or --policy and --component: say which", returncode=2)
        try:
            with across_tenants():
                policies = _policies(options["policy"])
                if options["dry_run"]:
                    self._rehearse(policies)
                else:
                    self._act(policies[0], row=_component(options["component"]))
        except Error as error:
            raise CommandError(f"the database does not answer: {str(error).strip()}", returncode=2) from error

    def _rehearse(self, policies: list[Policy]) -> None:
        lines = []
        for policy in policies:
            for receipt in recovery.rehearse_now(policy, by=f"by:{getpass.getuser()}"):
                stands = f"{receipt.condition['status']}: {receipt.condition['reason']}"
                verdict = receipt.facts["verdict"]
                lines.append(f"{policy.policy_id}: {policy.action} on {receipt.component} ({stands}): {verdict}")
        self.stdout.write("\n".join(lines) if lines else "nothing that a policy covers is in its condition now")

    def _act(self, policy: Policy, *, row: Component) -> None:
        order = recovery.by_hand(policy, row=row, by=getpass.getuser())
        acted = act(order)
        if acted.facts is None:
            recovery.failed(order.receipt_id, code=acted.code)
            raise CommandError(f"{policy.action}: {acted.code}")
        recovery.acted(order.receipt_id, facts=acted.facts)
        self.stdout.write(f"{policy.action} on {row}: {dict(acted.facts)}; receipt {order.receipt_id}")


def _policies(wanted: str | None) -> list[Policy]:
    found = list(Policy.objects.filter(policy_id=wanted) if wanted else Policy.objects.filter(enabled=True))
    if wanted and not found:
        raise CommandError(f"there is no policy {wanted!r}", returncode=2)
    return found


def _component(name: str) -> Component:
    module, _, component = name.partition("/")
    row = queries.named(module=module, component=component)
    if row is None:
        raise CommandError(f"there is no component {name!r} of the platform's", returncode=2)
    return row
