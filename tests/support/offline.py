"""A receipt as a stranger has it, and the script that checks it, without the plane's surroundings."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from opsplatform.plane import CHECKOUT

SCRIPT = CHECKOUT / "docs" / "verify_evidence.py"


class Offline:
    """Files as a stranger has them, and the script, run without the plane's surroundings."""

    def __init__(self, folder: Path) -> None:
        self.receipt, self.keys = folder / "receipt.json", folder / "keys.json"
        spec = importlib.util.spec_from_file_location("verify_evidence", SCRIPT)
        assert spec is not None
        assert spec.loader is not None
        self.script = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.script)

    def verify(self) -> tuple[int, str]:
        run = subprocess.run(
            [sys.executable, "-I", str(SCRIPT), str(self.receipt), str(self.keys)],
            capture_output=True,
            text=True,
            cwd="/",
            env={},
            timeout=30,
            check=False,
        )
        return run.returncode, run.stdout + run.stderr

    def write(self, receipt: dict[str, Any]) -> None:
        self.receipt.write_text(json.dumps(receipt, ensure_ascii=False), encoding="utf-8")

    def refused(self, receipt: dict[str, Any]) -> str:
        """Return the reason for which a receipt is not believed. (The script's own `main`: a process each is slow.)"""
        self.write(receipt)
        with pytest.raises((SystemExit, ValueError, LookupError)) as told:
            self.script.main(str(self.receipt), str(self.keys))
        return str(told.value)
