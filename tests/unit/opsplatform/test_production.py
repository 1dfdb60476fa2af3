"""Production refuses what local use allows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from opsplatform.production import complaints
from opsplatform.settings import environment

CHECKOUT = Path(__file__).resolve().parents[3]
DEFAULT = "the-default"
SECRET = "s" * 50
SAFE = {
    "OPS_ENV": "production",
    "OPS_SECRET_KEY": SECRET,
    "OPS_ALLOWED_HOSTS": "ops.example",
    "DATABASE_URL": "postgresql://ops@db/ops",
}


def said(variables: dict[str, str], *, secret_key: str = SECRET, debug: bool = False) -> list[str]:
    return complaints(environment.read(variables), secret_key=secret_key, debug=debug, default_secret=DEFAULT)


def test_a_safe_production_has_nothing_to_complain_of() -> None:
    assert said(SAFE) == []


def test_locally_nothing_is_refused() -> None:
    assert said({}, secret_key=DEFAULT, debug=True) == []


@pytest.mark.parametrize(
    ("missing", "named"),
    [
        ("OPS_SECRET_KEY", "OPS_SECRET_KEY"),
        ("DATABASE_URL", "DATABASE_URL"),
        ("OPS_ALLOWED_HOSTS", "OPS_ALLOWED_HOSTS"),
    ],
)
def test_a_missing_setting_is_named(missing: str, named: str) -> None:
    (complaint,) = said({name: value for name, value in SAFE.items() if name != missing})
    assert complaint.startswith(named)


def test_a_short_secret_and_a_debug_flag_are_refused() -> None:
    assert [text.split()[0] for text in said({**SAFE, "OPS_SECRET_KEY": "short"}, secret_key="short", debug=True)] == [
        "OPS_SECRET_KEY",
        "OPS_DEBUG",
    ]


def test_a_process_ends_with_one_line_and_code_2() -> None:
    variables = {"PATH": os.environ["PATH"], "OPS_ENV": "production", "OPS_HOME": os.environ["OPS_HOME"]}
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        check=False,
        cwd=CHECKOUT,
        env=variables,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("OPS_SECRET_KEY is not set")
