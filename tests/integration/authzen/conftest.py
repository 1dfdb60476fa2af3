"""The decision points that the conformance suite is run against."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.support.points import Stranger


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


@pytest.fixture(scope="session")
def stranger_process() -> Iterator[Stranger]:
    """The stranger, for the whole session."""
    process = Stranger(free_port())
    process.start()
    yield process
    process.stop()


@pytest.fixture
def stranger(stranger_process: Stranger) -> Stranger:
    """The stranger, behaving well."""
    stranger_process.behave()
    return stranger_process
