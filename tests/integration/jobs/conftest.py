"""Callers of the API."""

from __future__ import annotations

import pytest

from tests.support.api import Module


@pytest.fixture
def acme(db: None) -> Module:
    """Acme's module."""
    return Module("acme")


@pytest.fixture
def globex(db: None) -> Module:
    """Globex's module: the foreigner."""
    return Module("globex")


@pytest.fixture
def platform(db: None) -> Module:
    """A platform module, whose token names all tenants."""
    return Module("*")
