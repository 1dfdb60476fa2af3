"""What tests of the admin ask for: a signed-in operator, and a past in two tenants to look at."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.test import Client

from tests.support.admin import Past, a_past, signed_in


@pytest.fixture
def operator(db: None) -> Client:
    """A browser in which an operator has signed in."""
    return signed_in()


@pytest.fixture
def past(db: None, tmp_path: Path) -> Past:
    """What there is to see."""
    return a_past(heads=tmp_path)
