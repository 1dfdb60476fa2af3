"""The example in docs/job-types.md is true: the type it writes passes the tests it shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_documented_type_passes_its_documented_tests(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/job-types.md").read_text(), re.DOTALL)
    assert len(blocks) == 3  # the third says how a log's digest is recomputed
    for name, block in zip(("acme_jobs.py", "test_acme_jobs.py"), blocks[:2], strict=True):
        (tmp_path / name).write_text(block)
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    plain = [sys.executable, "-m", "pytest", "-q", "-p", "no:django", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(
        plain,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout
