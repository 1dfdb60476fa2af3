"""Whoever reads, and however: on a phone, in the dark, by keyboard, by ear. WCAG 2.2 AA where a program can tell."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from opsplatform.plane import Plane
from tests.browser.conftest import SignedIn
from tests.support.browser import Page
from tests.support.client import Caller, wait_for

# Each text node's colour against the nearest ground behind it; as small text, which asks for most.
CONTRAST = """
(() => {
  const ink = colour => {
    const sheet = ink.sheet ??= Object.assign(document.createElement('canvas'), {width: 1, height: 1});
    const canvas = sheet.getContext('2d', {willReadFrequently: true});
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => [r, g, b].map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, n) => sum + v * [.2126, .7152, .0722][n], 0);
  const ground = e => {
    for (; e; e = e.parentElement) {
      const found = ink(getComputedStyle(e).backgroundColor);
      if (found[3] === 255) return found;
    }
    return [255, 255, 255, 255];
  };
  const poor = new Set(), words = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (words.nextNode()) {
    const e = words.currentNode.parentElement;
    if (!words.currentNode.data.trim() || !e.checkVisibility() || e.closest('.unseen, script, option')) continue;
    const [a, b] = [light(ink(getComputedStyle(e).color)), light(ground(e))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) poor.add(`${ratio.toFixed(2)}: ${words.currentNode.data.trim().slice(0, 40)}`);
  }
  return [...poor];
})()
"""
NAMELESS = """
[...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, [tabindex="0"]')]
  .filter(e => e.checkVisibility())
  .filter(e => !(e.innerText.trim() || e.ariaLabel || e.labels?.length || e.title)).map(e => e.outerHTML)
"""
SMALL = """
[...document.querySelectorAll('button, .button, select, input:not([type=hidden])')].filter(e => e.checkVisibility())
  .filter(e => { const r = e.getBoundingClientRect(); return r.height < 24 || r.width < 24; }).map(e => e.outerHTML)
"""
HEADINGS = "[...document.querySelectorAll('h1, h2, h3, h4')].map(h => Number(h.tagName[1]))"
WIDER = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


def newest(caller: Caller, kind: str) -> dict[str, Any] | None:
    """Return the newest of acme's notifications or tickets; None while there is none."""
    items = caller.request("GET", f"/operations/{kind}").json()["items"]
    return dict(items[0]) if items else None


@pytest.fixture(scope="module")
def jobs(plane: Plane) -> dict[str, str]:
    """Jobs whose pages have everything on them that a page may have."""
    caller = Caller(url=plane.url, home=plane.home)
    broken = caller.submit("ops.fail", {"times": 1, "permanent": True})["job_id"]
    retried = caller.submit("ops.fail", {"times": 1}, concurrency_key="a-key-as-long-as-a-name-of-a-nightly-load")[
        "job_id"
    ]
    refused = caller.request("POST", "/operations/jobs", json={"type": "kpi.refresh", "params": {}}).json()["job_id"]
    waiting = caller.submit("ops.noop", run_at="2099-01-01T00:00:00Z")["job_id"]
    for job_id in (broken, retried):
        caller.wait(job_id)
    caller.close()
    reader = Caller(url=plane.url, home=plane.home, scope="notify:read tickets:read")
    found = {}
    for kind in ("notifications", "tickets"):
        row = wait_for(partial(newest, reader, kind), what=f"one of acme's {kind}")
        found[kind] = str(row.get("notification_id") or row.get("id"))
    reader.close()
    return {**found, "broken": broken, "retried": retried, "refused": refused, "waiting": waiting}


@pytest.fixture
def every_page(plane: Plane, jobs: dict[str, str]) -> Callable[[Page], list[str]]:
    """Return the addresses of every page that a member sees."""

    def addresses(page: Page) -> list[str]:
        folders = {"notifications": "alerts", "tickets": "tickets"}
        below = [f"{folders.get(name, 'jobs')}/{key}" for name, key in jobs.items()]
        return [f"{plane.url}/console/acme/{rest}" for rest in ("", *below, "?status=timed_out")]

    return addresses


Pages = Callable[[Page], list[str]]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_word_stands_out_from_its_ground(signed_in: SignedIn, every_page: Pages, dark: bool) -> None:
    page = signed_in("acme", dark=dark)
    for address in every_page(page):
        page.goto(address)
        assert page.evaluate(CONTRAST) == [], address


def test_nothing_is_wider_than_a_phone(signed_in: SignedIn, every_page: Pages) -> None:
    page = signed_in("acme", width=375, height=812)
    for address in every_page(page):
        page.goto(address)
        assert page.evaluate(WIDER) is False, address
        assert page.evaluate(SMALL) == [], address


def test_everything_to_be_reached_has_a_name_and_headings_have_their_order(
    signed_in: SignedIn, every_page: Pages
) -> None:
    page = signed_in("acme")
    for address in every_page(page):
        page.goto(address)
        assert page.evaluate(NAMELESS) == [], address
        levels = page.evaluate(HEADINGS)
        assert levels.count(1) == 1, address
        assert levels[0] == 1, address
        assert all(after - before <= 1 for before, after in pairwise(levels)), address
        assert page.evaluate("document.documentElement.lang") == "en"
        assert page.evaluate("document.title").split(" · ")[-1] in {"Platform Operations", "Acme Corporation"}


def test_the_keyboard_reaches_everything_and_shows_where_it_is(signed_in: SignedIn, jobs: dict[str, str]) -> None:
    page = signed_in("acme")
    page.evaluate("document.activeElement.blur()")
    page.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.press("Enter")
    page.until("document.activeElement.id === 'main'", what="the way past the bar")
    reached, unseen = set(), []
    for _ in range(60):
        page.press("Tab")
        name, outline = page.evaluate(
            "(e => [e.id || e.name || e.textContent.trim(), getComputedStyle(e).outlineStyle])(document.activeElement)"
        )
        reached.add(name)
        if outline == "none" and page.evaluate("document.activeElement !== document.body"):
            unseen.append(name)
    assert {"status", "type", "within", "day", f"job-{jobs['waiting']}"} <= reached
    assert unseen == []


def test_a_page_without_scripts_is_whole_and_in_utc(signed_in: SignedIn, plane: Plane, jobs: dict[str, str]) -> None:
    page = signed_in("acme")
    page.order("Emulation.setScriptExecutionDisabled", value=True)
    page.order("Page.navigate", url=f"{plane.url}/console/acme/?status=failed")
    page.until(f"document.getElementById('job-{jobs['broken']}')", what="the history without scripts")
    assert page.evaluate("document.querySelector('time').textContent").endswith(" UTC")
    assert page.evaluate("document.getElementById('live').hidden") is True, "a button that would do nothing"
