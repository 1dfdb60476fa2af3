"""Homes for the servers: real ones, in short-lived folders directly under the system's own, ended whatever happens."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from opsplatform import embedded
from opsplatform.embedded import home as homes


@contextmanager
def a_home() -> Iterator[Path]:
    """Give an empty folder to be, or to hold as `home`, an OPS_HOME; afterwards stop its servers and erase it.

    Erased by the product, not just removed: as root, the database of a home in a closed folder stands outside it.
    """
    folder = Path(tempfile.mkdtemp(prefix="ops-")).resolve()
    try:
        yield folder
    finally:
        for home in (folder, folder / "home"):
            if (home / homes.MARKER).exists():
                embedded.erase(home=home)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def home() -> Iterator[Path]:
    """An empty OPS_HOME."""
    with a_home() as folder:
        yield folder


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Path, embedded.Services]]:
    """A home whose servers run, shared by the tests of a module that leave it so."""
    with a_home() as folder:
        yield folder, embedded.start(home=folder, variables={})
