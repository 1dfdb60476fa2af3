"""`python -m opsplatform.supervisor up|down|reset`: 0 when done, 2 with one line on stderr when it cannot be."""

import argparse
import os
import sys
from pathlib import Path

from opsplatform import embedded
from opsplatform.settings import environment
from opsplatform.supervisor import procfile, state
from opsplatform.supervisor.up import Supervisor


def main() -> int:
    """Do what was asked."""
    parser = argparse.ArgumentParser(prog="python -m opsplatform.supervisor")
    commands = parser.add_subparsers(dest="action", required=True)
    up = commands.add_parser("up", help="start everything and serve until Ctrl-C")
    up.add_argument("--procfile", type=Path, default=environment.CHECKOUT / "Procfile")
    up.add_argument("--no-set-up", action="store_true", help="do not run manage.py set_up first")
    up.add_argument("--with-parent", type=int, metavar="PID", help="end when this, our parent, is gone")
    commands.add_parser("down", help="stop what a lost terminal left running")
    reset = commands.add_parser("reset", help="the same, and erase OPS_HOME")
    reset.add_argument("--yes", action="store_true", help="do not ask")
    options = parser.parse_args()
    try:
        surroundings = environment.read()
        if options.action == "up":
            return _up(surroundings, options)
        if options.action == "reset" and not _sure(home=surroundings.home, yes=options.yes):
            return 2
        ran = state.down(home=surroundings.home)
        sys.stdout.write(f"{'stopped' if ran else 'nothing was running on'} {surroundings.home}\n")
        if options.action == "reset":
            embedded.erase(home=surroundings.home)
            sys.stdout.write(f"erased {surroundings.home}\n")
    except (embedded.EmbeddedError, environment.BadSettingError, procfile.BadProcfileError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _up(surroundings: environment.Environment, options: argparse.Namespace) -> int:
    return Supervisor(
        environment=surroundings,
        lines=procfile.read(path=options.procfile, only=os.environ.get("OPS_ONLY", "")),
        folder=options.procfile.resolve().parent,
        set_up=[] if options.no_set_up else [sys.executable, str(environment.CHECKOUT / "manage.py"), "set_up"],
        parent=options.with_parent,
    ).run()


def _sure(*, home: Path, yes: bool) -> bool:
    if yes:
        return True
    if not sys.stdin.isatty():
        sys.stderr.write(f"reset erases {home}: say --yes (make reset YES=1) where nobody can be asked\n")
        return False
    sys.stdout.write(f"Erase {home} with its database, keys and logs? Type yes: ")
    sys.stdout.flush()
    if sys.stdin.readline().strip() != "yes":
        sys.stderr.write("nothing was erased\n")
        return False
    return True


if __name__ == "__main__":
    raise SystemExit(main())
