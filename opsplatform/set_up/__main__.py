"""`python3 -m opsplatform.set_up`. Kept readable by any Python 3, so that an old one can say what it lacks."""

import sys

if not (3, 11) <= sys.version_info[:2] <= (3, 13):
    ours = "%d.%d" % sys.version_info[:2]  # noqa: UP031 - the oldest Pythons have no f-strings
    sys.stderr.write("set-up: this is Python " + ours + "; 3.11, 3.12 or 3.13 is needed (make PYTHON=...)\n")
    sys.exit(2)

from opsplatform.set_up.virtual_environment import main

sys.exit(main())
