"""A real Chromium, driven over its own pipe (the DevTools protocol): no driver and no library stands in between.

Only what our tests ask: to go somewhere, to point, type and press as a person does, to look, and to hear what the
browser complains of.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.client import wait_for

FOUND = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ANSWER_WITHIN_S = 30.0
# Chromium reads from file 3 and writes to file 4; Python's own way of starting it may be using them.
SHIM = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
FLAGS = (
    "--headless", "--remote-debugging-pipe", "--no-first-run", "--no-default-browser-check", "--disable-gpu",
    "--disable-dev-shm-usage", "--disable-extensions", "--disable-background-networking", "--hide-scrollbars",
    "--disable-component-update", "--disable-sync", "--password-store=basic",
)  # fmt: skip
KEYS = {"Tab": 9, "Enter": 13, "Space": 32, "Escape": 27}


class BrowserError(AssertionError):
    """The browser refused an order, or a page's script failed."""


class Browser:
    """One Chromium with a profile of its own, gone when the context ends."""

    def __enter__(self) -> Self:
        assert FOUND is not None, "no Chromium on this machine"
        self._profile = Path(tempfile.mkdtemp(prefix="ops-browser-"))
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        # Away from 3 and 4, onto which the shim puts them.
        given = [fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in (theirs_in, theirs_out)]
        os.close(theirs_in)
        os.close(theirs_out)
        root = ("--no-sandbox",) if os.geteuid() == 0 else ()
        self._process = subprocess.Popen(
            [sys.executable, "-c", SHIM, *map(str, given), FOUND, *FLAGS, *root, f"--user-data-dir={self._profile}"],
            pass_fds=given,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(self._profile)},
        )
        for end in given:
            os.close(end)
        self._in, self._out = ours_in, ours_out
        self._rest, self._number = b"", 0
        self.heard: list[dict[str, Any]] = []
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._out)  # it ends when nobody orders it any more
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)
        shutil.rmtree(self._profile, ignore_errors=True)

    def page(self, *, width: int = 1280, height: int = 900, dark: bool = False, zone: str = "UTC") -> Page:
        """Open a page with cookies of its own."""
        context = self.order("Target.createBrowserContext")["browserContextId"]
        target = self.order("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.order("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session=session, target=target, context=context)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.order(f"{domain}.enable")
        page.order("Emulation.setTimezoneOverride", timezoneId=zone)
        page.order("Emulation.setLocaleOverride", locale="en-GB")
        page.wear(dark=dark)
        page.resize(width, height)
        return page

    def order(self, method: str, *, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Return the answer of an order; what is heard meanwhile is kept in `heard`."""
        self._number += 1
        number = self._number
        order = {"id": number, "method": method, "params": params, **({"sessionId": session} if session else {})}
        os.write(self._out, json.dumps(order).encode() + b"\0")
        end = time.monotonic() + ANSWER_WITHIN_S
        while True:
            said = self._next(end - time.monotonic())
            if said is None:
                raise BrowserError(f"no answer to {method} within {ANSWER_WITHIN_S:.0f} s")
            if said.get("id") == number:
                if "error" in said:
                    raise BrowserError(f"{method}: {said['error']}")
                return dict(said["result"])

    def listen(self) -> None:
        """Take in what was said without being asked."""
        while self._next(0) is not None:
            pass

    def _next(self, timeout_s: float) -> dict[str, Any] | None:
        """Return the next message, kept in `heard` where it answers nothing; None if none comes in time."""
        end = time.monotonic() + timeout_s
        while b"\0" not in self._rest:
            if not select.select([self._in], [], [], max(0.0, end - time.monotonic()))[0]:
                return None
            more = os.read(self._in, 1 << 20)
            if not more:
                raise BrowserError("the browser is gone")
            self._rest += more
        text, _, self._rest = self._rest.partition(b"\0")
        said: dict[str, Any] = json.loads(text)
        if "id" not in said:
            self.heard.append(said)
        return said


class Page:
    """A tab."""

    def __init__(self, browser: Browser, *, session: str, target: str, context: str) -> None:
        self._browser = browser
        self._session = session
        self._target = target
        self._context = context

    def order(self, method: str, **params: Any) -> dict[str, Any]:
        """Return the answer of an order to this tab."""
        return self._browser.order(method, session=self._session, **params)

    def goto(self, url: str) -> None:
        """Open an address and wait until it is loaded."""
        self.evaluate("window.leaving = true")
        failed = self.order("Page.navigate", url=url).get("errorText")
        if failed:
            raise BrowserError(f"{url}: {failed}")
        self.until("!window.leaving && document.readyState === 'complete'", what=f"{url} to load")

    def evaluate(self, script: str) -> Any:
        """Return what an expression comes to in the page."""
        answer = self.order("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise BrowserError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def until(self, script: str, *, what: str, within_s: float = 20) -> Any:
        """Return an expression's value once it is true; a page that is just being replaced is asked again."""
        asked = f"(found => found instanceof Node || found)({script})"  # an element has no value to be sent here

        def ask() -> Any:
            try:
                return self.evaluate(asked)
            except BrowserError as error:
                if "context" in str(error) or "navigated" in str(error):
                    return None
                raise

        return wait_for(ask, what=what, within_s=within_s)

    def text(self, selector: str = "main") -> str:
        """Return the words a reader sees in an element."""
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    def click(self, selector: str) -> None:
        """Point at an element and click it."""
        self.evaluate(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'center'}})")
        # The first of its boxes: what stands between the lines of a wrapped link is not the link.
        box = self.evaluate(
            f"(r => [r.x + r.width / 2, r.y + r.height / 2])(document.querySelector({json.dumps(selector)})"
            ".getClientRects()[0])"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.order("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def type(self, text: str) -> None:
        """Type into whatever has the focus."""
        self.order("Input.insertText", text=text)

    def press(self, key: str) -> None:
        """Press a key."""
        more = {"text": "\r"} if key == "Enter" else {}
        self.order("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, windowsVirtualKeyCode=KEYS[key], **more)
        self.order("Input.dispatchKeyEvent", type="keyUp", key=key, code=key, windowsVirtualKeyCode=KEYS[key])

    def choose(self, selector: str, value: str) -> None:
        """Choose a value of a select, as its list does."""
        self.evaluate(
            f"(e => {{ e.value = {json.dumps(value)}; e.dispatchEvent(new Event('change', {{bubbles: true}})) }})"
            f"(document.querySelector({json.dumps(selector)}))"
        )

    def resize(self, width: int, height: int) -> None:
        """Give the window another size; up to 500 wide it is a phone's."""
        small = width <= 500
        self.order("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=small)

    def hide(self) -> None:
        """Go to another tab of the same window."""
        order = self._browser.order
        other = order("Target.createTarget", url="about:blank", browserContextId=self._context)["targetId"]
        order("Target.activateTarget", targetId=other)
        self.until("document.hidden", what="the tab to be behind another")

    def show(self) -> None:
        """Come back to this tab."""
        self._browser.order("Target.activateTarget", targetId=self._target)
        self.until("!document.hidden", what="the tab to be in front")

    def cut(self, *, off: bool) -> None:
        """Take the network away, or give it back."""
        self.order(
            "Network.emulateNetworkConditions", offline=off, latency=0, downloadThroughput=-1, uploadThroughput=-1
        )

    def wear(self, *, dark: bool) -> None:
        """Have the reader's system be dark or light."""
        value = "dark" if dark else "light"
        self.order("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": value}])

    def complaints(self) -> list[str]:
        """Return what the browser complained of in this tab until now: scripts that failed, rules that were broken."""
        self.evaluate("0")
        self._browser.listen()
        found = []
        for said in self._browser.heard:
            if said.get("sessionId") != self._session:
                continue
            if said["method"] == "Runtime.exceptionThrown":
                found.append(str(said["params"]["exceptionDetails"]))
            elif said["method"] == "Log.entryAdded" and said["params"]["entry"]["level"] == "error":
                found.append(said["params"]["entry"]["text"])
        return found

    def asked(self) -> list[str]:
        """Return the addresses that this tab has asked for until now."""
        self.evaluate("0")
        return [
            said["params"]["request"]["url"]
            for said in self._browser.heard
            if said.get("sessionId") == self._session and said["method"] == "Network.requestWillBeSent"
        ]

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """Write a picture of the page."""
        answer = self.order("Page.captureScreenshot", format="png", captureBeyondViewport=whole, **self._whole(whole))
        path.write_bytes(base64.b64decode(answer["data"]))

    def _whole(self, whole: bool) -> dict[str, Any]:
        if not whole:
            return {}
        size = self.order("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}}
