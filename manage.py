#!/usr/bin/env python3
"""Django's command line for the plane: `python manage.py help` lists what it can do."""

import os
import sys

# A process takes its database role as it connects, so the command decides it before settings are read.
ROLE_OF_COMMAND = {
    "migrate": "owner",
    "set_up": "login",
    "run_scheduler": "control",
    "run_relay": "control",
    "run_sealer": "control",
    "evidence_erase": "control",
    "run_submitter": "control",
    "run_webhooks": "control",
    "run_watcher": "control",
    "recovery": "control",
    "run_reactor": "control",
    "run_emitter": "control",
    "run_clerk": "control",
    "run_migrator": "control",
    "run_notifier": "control",
    "why_told": "control",
    "route_simulate": "control",
    "doctor": "control",
    "shell": "app",
}


def main() -> None:
    """Run the command that the arguments name."""
    command = sys.argv[1] if len(sys.argv) > 1 else "help"
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opsplatform.settings")
    os.environ.setdefault("OPS_DATABASE_ROLE", ROLE_OF_COMMAND.get(command, "app"))
    from django.core.management import execute_from_command_line  # noqa: PLC0415 - the role must be set first

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
