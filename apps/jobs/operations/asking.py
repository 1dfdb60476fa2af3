"""Asking remote decision points before a transaction begins: no request to another system is made inside one.

A catalogue in this database is asked where it always was, inside: it is one more look of the same transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress

from apps.core.authzen import Answer, DecisionPoint, DecisionPointAwayError, Question
from apps.core.authzen_client import RemotePoint
from apps.jobs.operations.family import expand
from apps.jobs.operations.ruling import DecisionPoints
from apps.jobs.operations.submit import Submission, UnknownTenantError, question_of
from apps.jobs.operations.surroundings import surroundings_of
from apps.jobs.plans import BadPlanError
from apps.tenancy.context import in_tenant

Answers = Mapping[Question, Answer | DecisionPointAwayError]


class Asked:
    """A decision point whose answers were fetched beforehand."""

    def __init__(self, answers: Answers, *, name: str) -> None:
        self._answers = answers
        self._name = name

    def evaluate(self, question: Question) -> Answer:
        """Return the answer that was fetched; raise `DecisionPointAwayError` when there was none to be had."""
        found = self._answers.get(question)
        if isinstance(found, Answer):
            return found
        raise found or DecisionPointAwayError(point=self._name.capitalize(), retry_after_s=1)


def asked_ahead(submissions: Sequence[Submission], *, points: DecisionPoints) -> DecisionPoints:
    """Return `points` with what the submissions will ask of remote ones already answered; call outside transactions.

    A tenant that is not there is left for `submit` to say so. A question that arises differently inside (an environment
    that changed its region meanwhile) is answered as by a point that is away: it may be asked again.
    """
    if not any(isinstance(each, RemotePoint) for each in (points.governance, points.subscription)):
        return points
    questions: Counter[Question] = Counter()
    for tenant_id in sorted({each.tenant_id for each in submissions}):
        own = [each for each in submissions if each.tenant_id == tenant_id]
        with suppress(UnknownTenantError), in_tenant(tenant_id):
            regions = surroundings_of(environments={each.environment for each in own}, tenant_id=tenant_id).regions
            for each in own:
                if each.environment in regions:
                    region = regions[each.environment]
                    questions.update(question_of(one, region=region) for one in _with_steps(each))
    governance, permitted = _ask(points.governance, questions, name="governance")
    subscription, _ = _ask(points.subscription, permitted, name="subscription")
    return DecisionPoints(governance=governance, subscription=subscription)


def _with_steps(submission: Submission) -> Sequence[Submission]:
    """Return a submission and, where it is a plan's, those of its steps; a plan that cannot be used is told later."""
    try:
        whole, steps = expand(submission)
    except BadPlanError:
        return [submission]
    return [whole, *steps]


def _ask(point: DecisionPoint, questions: Counter[Question], *, name: str) -> tuple[DecisionPoint, Counter[Question]]:
    """Return the point as it answered, and the questions that are still to be asked of the next one."""
    if not isinstance(point, RemotePoint):
        return point, questions
    answers = point.answers(questions) if questions else {}
    yes = {each: n for each, n in questions.items() if isinstance(found := answers[each], Answer) and found.allowed}
    return Asked(answers, name=name), Counter(yes)
