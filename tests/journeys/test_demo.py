"""`make demo`: the whole story on real data, every step of it checked by the demo itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


DEADLINE_S = 540
"""Each wait of the story has its own deadline; this one is for a machine that plays three planes at once."""


@pytest.mark.timeout(DEADLINE_S + 90)
def test_the_story_comes_true() -> None:
    folder = Path(tempfile.mkdtemp(prefix="ops-story-")).resolve()
    folder.chmod(0o711)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "opsplatform.demo", "--folder", str(folder / "demo")],
            check=False,
            cwd=CHECKOUT,
            env={name: value for name, value in os.environ.items() if not name.startswith("OPS_")},
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
    except subprocess.TimeoutExpired as late:
        pytest.fail(f"the story came no further within {DEADLINE_S} s than:\n{(late.stdout or b'')[-4000:].decode()}")
    finally:
        # A story that was cut off leaves its plane; there is nothing to stop behind one that ended by itself.
        subprocess.run(
            [sys.executable, "-m", "opsplatform.supervisor", "down"],
            check=False,
            cwd=CHECKOUT,
            env={**os.environ, "OPS_HOME": str(folder / "demo" / "plane")},
            capture_output=True,
            timeout=60,
        )
        shutil.rmtree(folder, ignore_errors=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
