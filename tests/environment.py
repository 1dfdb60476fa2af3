"""Loaded before anything else (`-p tests.environment`): the suite's own OPS_HOME, and nothing of the developer's.

Settings are read as pytest-django starts, so this must come earlier than any conftest.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

OWN = ("DATABASE_URL", "BROKER_URL", "SENTRY_DSN")

for name in [name for name in os.environ if name.startswith("OPS_") or name in OWN]:
    del os.environ[name]

HOME = Path(tempfile.mkdtemp(prefix="ops-test-")) / "home"
os.environ["OPS_HOME"] = str(HOME)
# PostgreSQL refuses root, so as root it runs under an account of its own, which must be able to reach its data.
HOME.parent.chmod(0o711)
atexit.register(shutil.rmtree, HOME.parent, ignore_errors=True)
