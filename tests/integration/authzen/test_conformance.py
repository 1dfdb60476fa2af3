"""One suite for every decision point: the catalogue itself, the catalogue over HTTP, and a stranger's process.

Each is asked by the same questions through the same protocol, and must say yes, no, and many at once alike.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Protocol
from uuid import UUID
from wsgiref.simple_server import WSGIRequestHandler, make_server

import httpx
import pytest
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db import connection

from apps.core.authzen import Answer, Question
from apps.governance.catalogue import Catalogue as GovernanceCatalogue
from apps.subscription.catalogue import Catalogue as SubscriptionCatalogue
from apps.tenancy.context import in_tenant
from opsplatform.decision_points import remote
from tests.integration.conftest import Change
from tests.support.points import Stranger
from tests.support.tokens import token

QUESTION = Question(
    subject="data-acquisition",
    action="operations.submit",
    job_type="ops.noop",
    contract=None,
    tenant_id="acme",
    environment="default",
    region="local",
    priority="normal",
)
FORBIDDEN = replace(QUESTION, job_type="kpi.refresh", tenant_id="globex")
ACTIONS = ("operations.submit", "operations.dispatch", "operations.continue")


class Point(Protocol):
    """What the suite asks."""

    def evaluate(self, question: Question) -> Answer: ...

    def evaluate_all(self, questions: list[Question]) -> list[Answer]: ...


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def web(db: None) -> Iterator[str]:
    """The API on a socket, as the web process serves it; return its address."""

    def served(environ: dict[str, Any], start: Any) -> Any:
        try:
            return application(environ, start)
        finally:
            connection.close()

    application = get_wsgi_application()
    server = make_server("127.0.0.1", 0, served, handler_class=Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Inside:
    """A catalogue asked in each question's own tenant context, as a submission asks it."""

    def __init__(self, catalogue: Point) -> None:
        self._catalogue = catalogue

    def evaluate(self, question: Question) -> Answer:
        with in_tenant(question.tenant_id):
            return self._catalogue.evaluate(question)

    def evaluate_all(self, questions: list[Question]) -> list[Answer]:
        found = []
        for question in questions:
            with in_tenant(question.tenant_id):
                found += self._catalogue.evaluate_all([question])
        return found


POINTS = ("governance", "subscription", "governance over http", "subscription over http", "a stranger", "a plain one")


@pytest.fixture(params=POINTS)
def point(request: pytest.FixtureRequest, db: None, change: Change) -> Point:
    """Each point; `FORBIDDEN` is what it must refuse."""
    change(
        "INSERT INTO policies (policy_id, job_types, tenants, except_tenants, reason_code, reason, active, changed_at)"
        " VALUES ('test', '{kpi.*}', '{globex}', '{}', 'test_forbids', 'no', true, now())"
    )
    name = request.param
    if name == "governance":
        return Inside(GovernanceCatalogue())
    if name == "subscription":
        return Inside(SubscriptionCatalogue())
    if name.endswith("over http"):
        word = name.partition(" ")[0]
        url = f"{request.getfixturevalue('web')}/operations/authzen/{word}"
        return remote(word, url=url, audience="operations")
    stranger: Stranger = request.getfixturevalue("stranger")
    stranger.behave(deny=["globex"], plain=name == "a plain one")
    return remote("governance", url=stranger.url)


class TestEveryDecisionPoint:
    """What every point must do."""

    @pytest.mark.parametrize("action", ACTIONS)
    def test_says_yes_with_all_that_is_kept_of_a_decision(self, point: Point, action: str) -> None:
        answer = point.evaluate(replace(QUESTION, action=action))
        assert answer.allowed is True
        assert isinstance(answer.decision_id, UUID)
        assert answer.policy_revision
        assert answer.reason_code
        assert answer.max_age_s > 0
        assert answer.stale_s is None

    @pytest.mark.parametrize("action", ACTIONS)
    def test_says_no_with_a_reason(self, point: Point, action: str) -> None:
        answer = point.evaluate(replace(FORBIDDEN, action=action))
        assert answer.allowed is False
        assert answer.reason_code not in {"", "allowed", "entitled"}
        assert answer.reason

    def test_answers_many_in_their_order(self, point: Point) -> None:
        other = replace(QUESTION, priority="high")
        answers = point.evaluate_all([QUESTION, FORBIDDEN, other, FORBIDDEN])
        assert [each.allowed for each in answers] == [True, False, True, False]

    def test_gives_limits_and_obligations_as_objects(self, point: Point) -> None:
        answer = point.evaluate(QUESTION)
        assert set(answer.context()) == {"limits", "obligations", "max_age_s", "stale_if_error_s"}
        assert all(value is None or value >= 0 for value in answer.limits.values())


class TestTheCatalogueOverHTTP:
    """What the address itself refuses."""

    URL = "/operations/authzen/governance"

    def post(self, web: str, path: str, body: object, *, scope: str = "decisions:evaluate") -> httpx.Response:
        held = token(home=settings.ENVIRONMENT.home, tenants=["acme"], scope=scope)
        return httpx.post(f"{web}{self.URL}{path}", json=body, headers={"Authorization": f"Bearer {held}"})

    def test_needs_a_token_and_its_scope(self, web: str) -> None:
        path = "/access/v1/evaluation"
        assert httpx.post(f"{web}{self.URL}{path}", json=QUESTION.body()).status_code == 401
        assert self.post(web, path, QUESTION.body(), scope="jobs:read").status_code == 403

    def test_knows_no_tenant_beyond_the_token(self, web: str) -> None:
        answer = self.post(web, "/access/v1/evaluation", replace(QUESTION, tenant_id="globex").body())
        assert answer.status_code == 404

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"subject": None}, "subject"),
            ({"action": {"name": "read"}}, "action.name"),
            ({"resource": {"type": "ops.noop", "id": "-"}}, "resource.properties.tenant"),
        ],
    )
    def test_names_what_is_wrong_with_a_question(self, web: str, change: dict[str, object], field: str) -> None:
        answer = self.post(web, "/access/v1/evaluation", {**QUESTION.body(), **change})
        assert answer.status_code == 400
        assert [each["field"] for each in answer.json()["errors"]] == [field]

    def test_a_batch_has_defaults_and_tells_an_items_error_in_its_place(self, web: str) -> None:
        body = QUESTION.body()
        items = [
            {},
            {"action": {"name": "read"}},
            {"resource": replace(QUESTION, tenant_id="globex").body()["resource"]},
        ]
        found = self.post(web, "/access/v1/evaluations", {**body, "evaluations": items}).json()["evaluations"]
        assert [each["decision"] for each in found] == [True, False, False]
        assert [each["context"].get("error", {}).get("status") for each in found] == [None, 400, 404]

    def test_a_batch_may_end_at_the_first_no(self, web: str) -> None:
        items = [{}, {"action": {"name": "read"}}, {}]
        body = {**QUESTION.body(), "evaluations": items, "options": {"evaluations_semantic": "deny_on_first_deny"}}
        found = self.post(web, "/access/v1/evaluations", body).json()["evaluations"]
        assert [each["decision"] for each in found] == [True, False]

    def test_says_where_it_is(self, web: str) -> None:
        told = httpx.get(f"{web}/.well-known/authzen-configuration{self.URL}").json()
        assert told["policy_decision_point"] == f"{web}{self.URL}"
        assert told["access_evaluation_endpoint"] == f"{web}{self.URL}/access/v1/evaluation"
