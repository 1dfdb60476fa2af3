"""A decision point over HTTP, with what stands between it and the plane: a cache, stale answers, a breaker.

All of it is this process's own: each process learns of an outage by itself, and keeps its own last answers. What is
bounded is bounded for each process.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog

from apps.core.authzen import Answer, DecisionPointAwayError, Question
from apps.core.authzen_http import PointAwayError, PointRefusedError, Transport
from apps.core.authzen_wire import MalformedError, answer_of

MOST_KEPT: Final = 10_000
MOST_AT_ONCE: Final = 100
FAILURES_TO_OPEN: Final = 3
OPEN_S: Final = (1.0, 30.0)

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Outage:
    """What the point's last answers are good for while it is away, where they do not say so themselves.

    `stale_s`: for how long; `most`: for how many jobs of a tenant, counted since the point last answered.
    """

    stale_s: int = 0
    most: int = 1_000


class Breaker:
    """Whether asking is worth its time: open after three failures in a row, for 1 s doubling to 30 s."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._closed_at = 0.0
        self._pause_s = 0.0

    def wait_s(self) -> float:
        """Return the seconds until the next question is let through; 0 when one is now."""
        return max(0.0, self._closed_at - self._clock())

    def failed(self) -> None:
        """Count a failure; the third, and each after it, opens."""
        self._failures += 1
        if self._failures >= FAILURES_TO_OPEN:
            self._pause_s = min(max(self._pause_s * 2, OPEN_S[0]), OPEN_S[1])
            self._closed_at = self._clock() + self._pause_s

    def answered(self) -> None:
        """Close."""
        self._failures, self._pause_s, self._closed_at = 0, 0.0, 0.0


class RemotePoint:
    """The decision point `name` behind `transport`.

    An answer is kept for its `max_age_s`. While the point is away, a kept yes is good for `stale_if_error_s` beyond
    that and marked with its age; a kept no covers nothing. A 4xx or a malformed answer is no outage: nothing kept
    covers it, and it fails closed.
    """

    def __init__(
        self,
        *,
        name: str,
        transport: Transport,
        outage: Outage = Outage(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._transport = transport
        self._outage = outage
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[Question, tuple[Answer, float]] = OrderedDict()
        self._breaker = Breaker(clock)
        self._spent: Counter[str] = Counter()

    def evaluate(self, question: Question) -> Answer:
        """Answer `question`; raise `DecisionPointAwayError` when no answer can be had."""
        answer = self.answers({question: 1})[question]
        if isinstance(answer, DecisionPointAwayError):
            raise answer
        return answer

    def evaluate_all(self, questions: Sequence[Question]) -> list[Answer]:
        """Answer each of `questions`; raise `DecisionPointAwayError` when one of them cannot be answered."""
        found = self.answers(Counter(questions))
        answers: list[Answer] = []
        for question in questions:
            answer = found[question]
            if isinstance(answer, DecisionPointAwayError):
                raise answer
            answers.append(answer)
        return answers

    def answers(self, questions: Mapping[Question, int]) -> dict[Question, Answer | DecisionPointAwayError]:
        """Return what each question, asked for so many jobs, is answered with: a decision, or that none can be had."""
        with self._lock:
            now = self._clock()
            found: dict[Question, Answer | DecisionPointAwayError] = {
                question: kept[0]
                for question in questions
                if (kept := self._kept.get(question)) and now - kept[1] <= kept[0].max_age_s
            }
        unknown = [question for question in questions if question not in found]
        for start in range(0, len(unknown), MOST_AT_ONCE):
            chunk = unknown[start : start + MOST_AT_ONCE]
            found.update(self._ask(chunk, counts=questions))
        return found

    def _ask(
        self, questions: Sequence[Question], *, counts: Mapping[Question, int]
    ) -> dict[Question, Answer | DecisionPointAwayError]:
        with self._lock:
            wait_s = self._breaker.wait_s()
        if wait_s > 0:
            return {each: self._instead(each, count=counts[each]) for each in questions}
        asked_at = self._clock()  # an answer's age counts from the question: it knew nothing later
        try:
            bodies = self._transport.evaluate_all([each.body() for each in questions])
            answers = [answer_of(body, default_stale_s=self._outage.stale_s) for body in bodies]
        except PointAwayError as error:
            log.warning("decision_point_away", point=self.name, error=str(error)[:200])
            with self._lock:
                self._breaker.failed()
            return {each: self._instead(each, count=counts[each]) for each in questions}
        except (PointRefusedError, MalformedError) as error:
            log.warning("decision_point_malformed", point=self.name, error=str(error)[:200])
            return {each: self._away() for each in questions}
        with self._lock:
            self._breaker.answered()
            self._spent.clear()
            for question, answer in zip(questions, answers, strict=True):
                self._kept[question] = (answer, asked_at)
                self._kept.move_to_end(question)
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return dict(zip(questions, answers, strict=True))

    def _instead(self, question: Question, *, count: int) -> Answer | DecisionPointAwayError:
        """Return the last yes while it is still good for an outage, marked with its age, or that none can be had."""
        with self._lock:
            kept = self._kept.get(question)
            if kept is None or not kept[0].allowed:
                return self._away()
            age_s = self._clock() - kept[1]
            if age_s > kept[0].max_age_s + kept[0].stale_if_error_s:
                return self._away()
            if self._spent[question.tenant_id] + count > self._outage.most:
                return self._away()
            self._spent[question.tenant_id] += count
            return replace(kept[0], stale_s=int(age_s))

    def _away(self) -> DecisionPointAwayError:
        return DecisionPointAwayError(
            point=self.name.capitalize(), retry_after_s=max(1, round(self._breaker.wait_s() + 0.5))
        )
