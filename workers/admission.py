"""The second and third question: may a waiting job be dispatched, and may a running one go on?

The scheduler asks once a look, and never waits for another system: remote decision points are asked by a thread, and
what is not answered yet is held. The built-in catalogues are asked again only when what they depend on has changed,
which one look a second finds out; under an unchanged catalogue a job costs nothing here.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

import structlog

from apps.core.authzen import Answer, DecisionPointAwayError, Question
from apps.core.authzen_client import RemotePoint
from apps.core.rate import Rate, parse_rate
from apps.jobs.operations import admission, deferral
from apps.jobs.operations.admission import Standing
from apps.jobs.operations.ruling import DecisionPoints
from apps.jobs.scheduling import Lane, TenantShare, Waiting

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 1.0
WAIT_S = 0.05
ASK_AGAIN_S = 1.0
# A job's id holds its submission's time by its host's clock. Jobs younger than a change by less than this are judged
# again although they need not be; a host whose clock is further off has its jobs judged by the submission alone.
SLACK_S = 60.0
DEFAULT_SHARE = TenantShare(weight=100, max_running=4)
MOST_RUNNING = 10_000
MOST_KEPT = 50_000
# What is held is asked about again a second later, by a look that may be late: until then it is told as held.
STILL_TOLD_S = 2.0


class CataloguePoint:
    """A catalogue in this database: asked at once, all new questions in one round trip, its answers kept a revision."""

    def __init__(self, catalogue: Any) -> None:
        self._catalogue = catalogue
        self._revision: str | None = None
        self._looked_at = 0.0
        self._kept: dict[Question, Answer] = {}

    def changed(self) -> bool:
        """Look once a second whether anything the answers depend on has changed; the first look is a change."""
        if time.monotonic() - self._looked_at < LOOK_EVERY_S and self._revision is not None:
            return False
        self._looked_at = time.monotonic()
        revision = self._catalogue.revision()
        if revision == self._revision:
            return False
        self._revision = revision
        self._kept.clear()
        return True

    def answers(self, questions: Collection[Question]) -> dict[Question, Answer | DecisionPointAwayError | None]:
        """Return the answer to each question."""
        unknown = [each for each in dict.fromkeys(questions) if each not in self._kept]
        if unknown:
            if len(self._kept) > MOST_KEPT:
                self._kept.clear()
            self._kept.update(zip(unknown, self._catalogue.evaluate_all(unknown), strict=True))
        return {each: self._kept.get(each) for each in questions}


class BackgroundPoint:
    """A remote point, asked by a thread; an answer that is not there yet is None, and is waited for 50 ms at most."""

    def __init__(self, point: RemotePoint) -> None:
        self._point = point
        self._known: dict[Question, tuple[Answer | DecisionPointAwayError, float]] = {}
        self._asking: set[Question] = set()
        self._lock = threading.Lock()
        self._idle = threading.Event()
        self._idle.set()

    def changed(self) -> bool:
        """Say no: a remote point's answers have an age instead of a revision."""
        return False

    def answers(self, questions: Collection[Question]) -> dict[Question, Answer | DecisionPointAwayError | None]:
        """Return what is known of each question now, and have the rest asked."""
        with self._lock:
            wanted = [each for each in dict.fromkeys(questions) if not self._good(each)]
            if wanted and not self._asking:
                self._asking = set(wanted)
                self._idle.clear()
                threading.Thread(target=self._ask, args=(Counter(wanted),), daemon=True).start()
        if wanted:
            self._idle.wait(WAIT_S)
        with self._lock:
            return {each: self._known[each][0] if self._good(each) else None for each in questions}

    def _good(self, question: Question) -> bool:
        known = self._known.get(question)
        if known is None:
            return False
        found, at = known
        lasts_s = ASK_AGAIN_S
        if isinstance(found, Answer) and found.stale_s is None:
            lasts_s = max(ASK_AGAIN_S, found.max_age_s)
        return time.monotonic() - at < lasts_s

    def _ask(self, questions: Counter[Question]) -> None:
        try:
            found = self._point.answers(questions)
        except Exception:
            log.exception("decision_point_broke", point=self._point.name)
            away = DecisionPointAwayError(point=self._point.name.capitalize(), retry_after_s=1)
            found = dict.fromkeys(questions, away)
        now = time.monotonic()
        with self._lock:
            self._known = {each: kept for each, kept in self._known.items() if now - kept[1] < 10 * SLACK_S}
            self._known.update({each: (answer, now) for each, answer in found.items()})
            self._asking = set()
            self._idle.set()


class Admission:
    """What the scheduler knows of the decision points' words on waiting and running jobs."""

    def __init__(self, *, points: DecisionPoints) -> None:
        asked = {"governance": points.governance, "subscription": points.subscription}
        self._points: dict[str, CataloguePoint | BackgroundPoint] = {
            name: BackgroundPoint(point) if isinstance(point, RemotePoint) else CataloguePoint(point)
            for name, point in asked.items()
        }
        self._remote = {name for name, point in self._points.items() if isinstance(point, BackgroundPoint)}
        self._judged: set[UUID] = set()
        self._judge_before = 0.0
        self._judge_running_until = 0.0
        self._held: dict[tuple[str, str], tuple[float, str]] = {}
        self._told: dict[UUID, tuple[Standing, dict[str, Answer]]] = {}
        self._limits: dict[str, Mapping[str, Any]] = {}
        self._away: dict[str, bool | None] = dict.fromkeys(self._remote)

    def look(self) -> None:
        """Notice, once a second, that a catalogue has changed: then every waiting and running job is judged anew."""
        changed = [point.changed() for point in self._points.values()]
        if any(changed):
            self._judged.clear()
            self._judge_before = time.time() + SLACK_S
            # What was dispatched as the change came is not running yet: it is looked for a while longer.
            self._judge_running_until = time.monotonic() + SLACK_S

    def permitted(self, waiting: Sequence[Waiting]) -> list[Waiting]:
        """Return the waiting jobs that may be dispatched now; those denied are rejected here, the others held."""
        unknown = [job.job_id for job in waiting if not self._needs_nothing(job.job_id)]
        if not unknown:
            return list(waiting)
        standings = {each.job_id: each for each in admission.standing_of(unknown)}
        verdicts = self._verdicts(list(standings.values()))
        out: set[UUID] = set()
        for job in waiting:
            standing = standings.get(job.job_id)
            if standing is None:
                continue
            refused, answers, held_by = verdicts[job.job_id]
            if refused is not None:
                admission.reject(standing, point=refused, answer=answers[refused])
            if refused is not None or held_by is not None:
                out.add(job.job_id)
            if refused is None and held_by is not None:
                self._held[job.tenant_id, job.type] = time.monotonic() + ASK_AGAIN_S, held_by
            elif refused is None and self._remote:
                self._told[job.job_id] = (standing, answers)
                self._limits[job.tenant_id] = (
                    answers["subscription"].limits if "subscription" in answers else standing.limits
                )
            elif refused is None:
                self._judged.add(job.job_id)
        return [job for job in waiting if job.job_id not in out]

    def note(self, job_ids: Collection[UUID]) -> None:
        """Keep the remote decisions under which jobs were dispatched; forget those of jobs that were not."""
        for job_id in job_ids:
            self._judged.discard(job_id)
            if job_id in self._told:
                standing, answers = self._told[job_id]
                own = {name: answer for name, answer in answers.items() if name in self._remote}
                if own:
                    admission.record(own, standing=standing)
        self._told.clear()
        told_from = time.monotonic() - STILL_TOLD_S
        self._held = {pair: held for pair, held in self._held.items() if held[0] > told_from}

    def gate(self, lane: Lane) -> str | None:
        """Pass over for a second what is held until an answer comes, so that other work is seen."""
        until, held_by = self._held.get((lane.tenant_id, lane.type), (-math.inf, ""))
        return held_by if until > time.monotonic() else None

    def awaited(self) -> dict[tuple[str, str], str]:
        """Return the gate by which each (tenant, type) is held for want of an answer: its point is away, or slow."""
        told_from = time.monotonic() - STILL_TOLD_S
        return {pair: held_by for pair, (until, held_by) in self._held.items() if until > told_from}

    def shares(self, known: Mapping[str, TenantShare]) -> Mapping[str, TenantShare]:
        """Return the tenants' shares, a remote Subscription's limits before those of the plans in this database.

        The same object where there is nothing to change: whoever keeps what it makes of them sees that.
        """
        if "subscription" not in self._remote or not self._limits:
            return known
        return under_limits(known, limits=self._limits)

    def withdraw(self) -> list[UUID]:
        """Ask the running jobs to stop that may not go on; return them. Who does not answer withdraws nothing."""
        if time.monotonic() > self._judge_running_until and not self._remote:
            return []
        standings = admission.standing_of_running(limit=MOST_RUNNING)
        verdicts = self._verdicts(standings)
        stopped = []
        for standing in standings:
            refused, answers, _ = verdicts[standing.job_id]
            if refused is not None:
                admission.withdraw(standing, point=refused, answer=answers[refused])
                stopped.append(standing.job_id)
        return stopped

    def _needs_nothing(self, job_id: UUID) -> bool:
        """Say whether the submission's own decisions, or an earlier look's, hold without asking."""
        if self._remote:
            return False
        return job_id in self._judged or (job_id.int >> 80) / 1000 > self._judge_before

    def _verdicts(self, standings: Sequence[Standing]) -> dict[UUID, tuple[str | None, dict[str, Answer], str | None]]:
        """Return for each job which point refuses it, what was answered, and the gate of an answer that is missing."""
        answers: dict[UUID, dict[str, Answer]] = {each.job_id: {} for each in standings}
        refused: dict[UUID, str] = {}
        held: dict[UUID, str] = {}
        for name, point in self._points.items():
            asked = [
                each
                for each in standings
                if each.job_id not in refused and (name not in self._remote or each.holds_s.get(name, 0.0) <= 0)
            ]
            found = point.answers([each.question for each in asked]) if asked else {}
            for each in asked:
                answer = found[each.question]
                if not isinstance(answer, Answer):
                    held.setdefault(each.job_id, "decision_awaited" if answer is None else f"{name}_away")
                    continue
                answers[each.job_id][name] = answer
                if not answer.allowed:
                    refused[each.job_id] = name
            if name in self._remote and asked:
                self._say(name, [answer for answer in found.values() if answer is not None])
        return {
            each.job_id: (refused.get(each.job_id), answers[each.job_id], held.get(each.job_id)) for each in standings
        }

    def _say(self, name: str, found: Sequence[Answer | DecisionPointAwayError]) -> None:
        """Write down that a point is away, or back, where whoever asks why a job waits can read it."""
        if not found:
            return
        away = any(isinstance(each, DecisionPointAwayError) for each in found)
        if away is self._away[name]:
            return
        self._away[name] = away
        if away:
            deferral.open_breaker(reason="no answer", name=name)
        else:
            deferral.close_breaker(name=name)
        log.warning("decision_point", point=name, away=away)


def under_limits(
    known: Mapping[str, TenantShare], *, limits: Mapping[str, Mapping[str, Any]]
) -> dict[str, TenantShare]:
    """Return the shares with a decision point's `limits` by tenant, each going before the plan's own."""
    shares = dict(known)
    for tenant_id, said in limits.items():
        plan = known.get(tenant_id, DEFAULT_SHARE)
        weight, most = said.get("weight"), said.get("max_running")
        shares[tenant_id] = TenantShare(
            weight=plan.weight if weight is None else weight,
            max_running=plan.max_running if most is None else most,
            rate=_rate(said.get("rate")) or plan.rate,
        )
    return shares


def _rate(words: Any) -> Rate | None:
    """Return the rate among a kept decision's limits; None for words that were kept when nobody read them."""
    try:
        return parse_rate(words)
    except ValueError:
        return None
