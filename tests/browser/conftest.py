"""A real Chromium before a real plane, and the tenant's own person in front of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from opsplatform.plane import Plane
from tests.support.browser import FOUND, Browser, Page

SignedIn = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium."""
    if FOUND is None:
        pytest.skip("needs Debian's chromium: .ci/run installs it")
    with Browser() as running:
        yield running


@pytest.fixture
def passwords(plane: Plane) -> dict[str, str]:
    """The first logins, as set-up wrote them for a person to read."""
    lines = (Path(plane.home) / "operator").read_text().splitlines()
    return dict(line.split(" ", 1) for line in lines)


@pytest.fixture
def signed_in(plane: Plane, browser: Browser, passwords: dict[str, str]) -> SignedIn:
    """Return a maker of tabs in which somebody has signed in, by keyboard alone, and sees their first page."""

    def make(username: str = "acme", **looks: object) -> Page:
        page = browser.page(**looks)  # type: ignore[arg-type]  # handed on as they are
        page.goto(f"{plane.url}/console/")
        page.until("document.activeElement?.name === 'username'", what="the form to be ready for a name")
        page.type(username)
        page.press("Tab")
        page.type(passwords[username])
        page.press("Enter")
        page.until(
            "document.readyState === 'complete' && !location.pathname.endsWith('sign-in')", what=f"{username} to be in"
        )
        return page

    return make
