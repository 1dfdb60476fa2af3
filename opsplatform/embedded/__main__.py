"""`python -m opsplatform.embedded start|stop|status`: the embedded servers by hand, for the OPS_HOME in force."""

import argparse
import json
import sys
from dataclasses import asdict

from opsplatform import embedded
from opsplatform.embedded import home as homes


def main() -> int:
    """Do what was asked; 0, or 2 with one line on stderr, or for `status` 3 when nothing runs."""
    parser = argparse.ArgumentParser(prog="python -m opsplatform.embedded", description=__doc__)
    parser.add_argument("action", choices=["start", "stop", "status"])
    action = parser.parse_args().action
    home = homes.from_variables()
    try:
        if action == "start":
            embedded.start(home=home)
        elif action == "stop":
            embedded.stop(home=home)
            return 0
        services = embedded.find(home=home)
    except embedded.EmbeddedError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(json.dumps(asdict(services or embedded.Services()), indent=1) + "\n")
    return 0 if services else 3


if __name__ == "__main__":
    raise SystemExit(main())
