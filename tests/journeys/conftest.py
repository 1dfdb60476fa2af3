"""What the journeys of migrations share: a module's database, and who may migrate it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from opsplatform import embedded
from opsplatform.plane import Plane
from tests.support.client import Truth
from tests.support.release import Campaigns
from tests.support.shop import Shop


@pytest.fixture
def shop(plane: Plane, truth: Truth) -> Iterator[Shop]:
    """A database of the module `shop`, on the plane's own PostgreSQL server."""
    found = embedded.find(home=plane.home)
    assert found is not None
    assert found.superuser_url is not None
    made = Shop(truth=truth, superuser_url=found.superuser_url, home=plane.home, name=f"shop_{uuid.uuid4().hex[:8]}")
    yield made
    made.close()


@pytest.fixture
def campaigns(plane: Plane) -> Iterator[Campaigns]:
    """A platform module that may run migrations of every tenant."""
    caller = Campaigns(plane=plane)
    yield caller
    caller.close()
