"""How the demo speaks: lines with the elapsed time, tables, a live line while something is waited for. Only prints."""

import os
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from typing import TextIO

from opsplatform import os_processes

WIDTH = 96
GUTTER = 10
STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
LOOK_EVERY_S = 0.02
LIVE_EVERY_S = 0.2
SLOW_EVERY_S = 5.0


class NotTrueError(Exception):
    """A step of the story did not come true; the message says which, and what was seen instead."""


class Telling:
    """Tells on `out`, in colour if that is a terminal. `checked` counts what was found true."""

    def __init__(self, *, out: TextIO = sys.stdout) -> None:
        self.checked = 0
        self._out = out
        self._began = time.monotonic()
        self._chapter = 0
        self._live = out.isatty()
        self._colours = self._live and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        self._mark = "✓" if "utf" in (out.encoding or "").lower() else "ok"

    @property
    def elapsed_s(self) -> float:
        """Seconds since the demo began."""
        return time.monotonic() - self._began

    def chapter(self, title: str) -> None:
        """Begin a numbered chapter."""
        self._chapter += 1
        self._line(f"\n{self._time()}{self.styled(f'{self._chapter}. {title}', 'bold', 'cyan')}")

    def say(self, text: str) -> None:
        """Say a sentence, under the elapsed time."""
        self._paragraph(text, head=self._time())

    def true(self, text: str) -> None:
        """Say what was checked and found true."""
        self.checked += 1
        plain = f"{self._mark} "
        self._paragraph(text, head=self._time() + self.styled(plain, "green"), indent=GUTTER + len(plain))

    def check(self, holds: object, text: str, *, seen: object = None) -> None:
        """Say `text` if it holds; else raise `NotTrueError` with it and with what was seen."""
        if not holds:
            raise NotTrueError(text if seen is None else f"{text}: seen was {seen}")
        self.true(text)

    def table(
        self, head: Sequence[str], rows: Sequence[Sequence[object]], *, left: frozenset[int] = frozenset()
    ) -> None:
        """Print rows under their heads; columns are right-aligned but those whose place is in `left`."""
        cells = [[str(cell) for cell in row] for row in (head, *rows)]
        widths = [max(len(row[place]) for row in cells) for place in range(len(head))]
        for number, row in enumerate(cells):
            aligned = [
                f"{cell:<{width}}" if place in left else f"{cell:>{width}}"
                for place, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            line = f"{' ' * (GUTTER + 2)}{'   '.join(aligned)}".rstrip()
            self._line(self.styled(line, "dim") if number == 0 else line)

    def wait(self, condition: Callable[[], bool], *, for_what: str, within_s: float) -> None:
        """Wait until `condition` holds, telling what for if it takes long; raise `NotTrueError` at the deadline."""
        began = told = time.monotonic()
        every_s = LIVE_EVERY_S if self._live else SLOW_EVERY_S

        def looked() -> bool:
            nonlocal told
            if condition():
                return True
            if time.monotonic() - told >= every_s:
                told = time.monotonic()
                self._waiting(f"… {for_what} ({told - began:.0f} s)")
            return False

        try:
            if not os_processes.wait_until(looked, within_s=within_s, every_s=LOOK_EVERY_S):
                raise NotTrueError(f"{for_what}: not within {within_s:.0f} s")
        finally:
            self._clear()

    def end(self, text: str, *, good: bool) -> None:
        """Say the last word."""
        self._line(f"\n{self._time()}{self.styled(text, 'bold', 'green' if good else 'red')}")

    def plain(self, text: str) -> None:
        """Print text as it is."""
        self._line(text)

    def styled(self, text: str, *styles: str) -> str:
        """Return `text` in those styles, or as it is where there are no colours."""
        if not self._colours:
            return text
        return f"\x1b[{';'.join(STYLES[style] for style in styles)}m{text}\x1b[0m"

    def _paragraph(self, text: str, *, head: str, indent: int = GUTTER) -> None:
        first, *rest = textwrap.wrap(text, WIDTH - indent, break_on_hyphens=False) or [""]
        self._line("\n".join([head + first, *(" " * indent + line for line in rest)]))

    def _time(self) -> str:
        return self.styled(f"{self.elapsed_s:6.1f} s  ", "dim")

    def _waiting(self, text: str) -> None:
        if self._live:
            self._out.write(f"\r\x1b[2K{self._time()}{self.styled(text[: WIDTH - GUTTER], 'dim')}")
            self._out.flush()
        else:
            self.say(text)

    def _clear(self) -> None:
        if self._live:
            self._out.write("\r\x1b[2K")
            self._out.flush()

    def _line(self, text: str) -> None:
        self._out.write(f"{text}\n")
        self._out.flush()
