"""Regular expressions for JSON Schema's `pattern`, matched in linear time.

Python's `re` tries every way to split a text: `^(a+)+$` takes seconds on 26 characters, and the text comes
from whoever submits the job. Here a pattern becomes a finite automaton that reads each character once, so
its worst case is (states × characters). What cannot be done so (look-around, backreferences) is refused when
the job type is registered. As JSON Schema asks, `$` is the very end (not before a final newline),
and `\\d`, `\\w` are ASCII.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from re import _constants as op  # type: ignore[attr-defined]  # the standard library's own parser: private, but the one true reading
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any, NamedTuple

MAX_STATES = 500
MAX_SUBJECT_CHARS = 2048

Test = Callable[[str], bool]


class BadPatternError(ValueError):
    """A pattern that is no regular expression, or cannot be matched in linear time."""


class _State(NamedTuple):
    """One step: read a character that passes `test`, or (test None) go on freely if the place is `where`."""

    test: Test | None
    where: str | None
    follow: list[int]


_CATEGORIES: dict[Any, Test] = {
    op.CATEGORY_DIGIT: lambda c: "0" <= c <= "9",
    op.CATEGORY_NOT_DIGIT: lambda c: not "0" <= c <= "9",
    op.CATEGORY_WORD: lambda c: c == "_" or (c.isascii() and c.isalnum()),
    op.CATEGORY_NOT_WORD: lambda c: not (c == "_" or (c.isascii() and c.isalnum())),
    op.CATEGORY_SPACE: str.isspace,
    op.CATEGORY_NOT_SPACE: lambda c: not c.isspace(),
}
_PLACES = {op.AT_BEGINNING: "start", op.AT_BEGINNING_STRING: "start", op.AT_END: "end", op.AT_END_STRING: "end"}


class Pattern:
    """A compiled pattern; `found_in` says whether it occurs anywhere in a text, as JSON Schema's `pattern` asks."""

    def __init__(self, source: str) -> None:
        """Compile `source`; raise BadPatternError saying what is not allowed."""
        self.source = source
        self._states: list[_State] = []
        try:
            tree = parser.parse(source)
            if tree.state.flags & ~re.UNICODE:
                raise BadPatternError("inline flags are not allowed in a pattern")
            self._accept = self._add(None, None)
            self._start = self._sequence(tree, self._accept)
        except re.error as error:
            raise BadPatternError(f"not a regular expression: {error.msg}") from error
        except (RecursionError, OverflowError) as error:
            raise BadPatternError("nested too deep") from error

    def found_in(self, text: str) -> bool:
        """Return whether the pattern occurs in `text`, in time linear in its length."""
        current: set[int] = set()
        for position in range(len(text) + 1):
            at_start, at_end = position == 0, position == len(text)
            current.add(self._start)
            current = self._reach(current, at_start=at_start, at_end=at_end)
            if self._accept in current:
                return True
            if at_end:
                return False
            character = text[position]
            current = {
                state.follow[0]
                for state in (self._states[n] for n in current)
                if state.test is not None and state.test(character)
            }
        return False

    def _reach(self, states: Iterable[int], *, at_start: bool, at_end: bool) -> set[int]:
        reached: set[int] = set()
        waiting = list(states)
        while waiting:
            number = waiting.pop()
            if number in reached:
                continue
            reached.add(number)
            state = self._states[number]
            if state.test is None and (state.where is None or (at_start if state.where == "start" else at_end)):
                waiting.extend(state.follow)
        return reached

    def _add(self, test: Test | None, where: str | None, *follow: int) -> int:
        if len(self._states) >= MAX_STATES:
            raise BadPatternError(f"too large: its repeats unfold to more than {MAX_STATES} steps")
        self._states.append(_State(test, where, list(follow)))
        return len(self._states) - 1

    def _sequence(self, items: Sequence[Any], follow: int) -> int:
        for item in reversed(list(items)):
            follow = self._item(item[0], item[1], follow)
        return follow

    def _item(self, kind: Any, value: Any, follow: int) -> int:
        if kind in (op.MAX_REPEAT, op.MIN_REPEAT):
            least, most, body = value
            return self._repeat(least, most, body, follow)
        if kind is op.SUBPATTERN:
            _, added, removed, body = value
            if added or removed:
                raise BadPatternError("inline flags are not allowed in a pattern")
            return self._sequence(body, follow)
        if kind is op.BRANCH:
            return self._add(None, None, *[self._sequence(branch, follow) for branch in value[1]])
        if kind is op.AT and value in _PLACES:
            return self._add(None, _PLACES[value], follow)
        return self._add(_test(kind, value), None, follow)

    def _repeat(self, least: int, most: Any, body: Sequence[Any], follow: int) -> int:
        if most is op.MAXREPEAT:
            tail = self._add(None, None)
            self._states[tail].follow.extend([self._sequence(body, tail), follow])
        else:
            tail = follow
            for _ in range(int(most) - least):
                tail = self._add(None, None, self._sequence(body, tail), follow)
        for _ in range(least):
            tail = self._sequence(body, tail)
        return tail


def _test(kind: Any, value: Any) -> Test:
    if kind is op.LITERAL:
        return chr(value).__eq__
    if kind is op.NOT_LITERAL:
        return chr(value).__ne__
    if kind is op.ANY:
        return lambda c: c not in "\n\r\u2028\u2029"
    if kind is op.RANGE:
        low, high = chr(value[0]), chr(value[1])
        return lambda c: low <= c <= high
    if kind is op.CATEGORY:
        return _CATEGORIES[value]
    if kind is op.IN:
        negated = value[0][0] is op.NEGATE
        tests = [_test(*item) for item in (value[1:] if negated else value)]
        return lambda c: any(test(c) for test in tests) is not negated
    raise BadPatternError(f"{str(kind).lower()} is not allowed: a pattern must be matchable in one pass")


@lru_cache(maxsize=1024)
def compiled(source: str) -> Pattern:
    """Return the compiled pattern, from memory after the first time; raise BadPatternError as Pattern does."""
    return Pattern(source)
