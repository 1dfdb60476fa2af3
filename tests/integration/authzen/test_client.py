"""The client of a decision point: what it sends, what it believes, and what it does while nobody answers."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from joserfc.util import urlsafe_b64decode

from apps.core.authzen import Answer, DecisionPointAwayError
from apps.core.authzen_client import Outage, RemotePoint
from apps.core.authzen_http import Transport
from opsplatform.decision_points import remote
from tests.integration.authzen.conftest import free_port
from tests.integration.authzen.test_conformance import QUESTION
from tests.support.points import Stranger

KEPT = {"max_age_s": 10, "stale_if_error_s": 100}


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def client(stranger: Stranger, clock: Clock, *, most: int = 1000, stale_s: int = 0) -> RemotePoint:
    transport = Transport(url=stranger.url, token=lambda: "t", answer_within_s=0.5)
    return RemotePoint(name="governance", transport=transport, outage=Outage(stale_s=stale_s, most=most), clock=clock)


def test_a_question_is_sent_as_the_contract_says_with_a_token_of_ours(db: None, stranger: Stranger) -> None:
    remote("governance", url=stranger.url).evaluate(replace(QUESTION, contract="kpi.revenue@3"))
    state = stranger.state()
    assert state["asked"] == [
        {
            "subject": {"type": "module", "id": "data-acquisition"},
            "action": {"name": "operations.submit"},
            "resource": {
                "type": "ops.noop",
                "id": "kpi.revenue@3",
                "properties": {"tenant": "acme", "environment": "default", "region": "local", "priority": "normal"},
            },
        }
    ]
    header, claims, _ = state["authorizations"][0].removeprefix("Bearer ").split(".")
    assert json.loads(urlsafe_b64decode(header.encode()))["typ"] == "at+jwt"
    said = json.loads(urlsafe_b64decode(claims.encode()))
    assert (said["aud"], said["sub"], said["scope"]) == ("governance", "operations", "decisions:evaluate")


def test_connections_are_used_again(stranger: Stranger) -> None:
    point = client(stranger, Clock())
    before = stranger.state()["connections"]
    for priority in ("low", "high", "bulk"):
        point.evaluate(replace(QUESTION, priority=priority))
    assert stranger.state()["connections"] == before + 2, "one for the questions, one to look at the count"


def test_an_answer_is_kept_for_its_age_and_no_longer(stranger: Stranger) -> None:
    clock = Clock()
    point = client(stranger, clock)
    stranger.behave(context=KEPT)
    first = point.evaluate(QUESTION)
    clock.now += 10
    assert point.evaluate(QUESTION) == first
    assert stranger.state()["requests"] == 1
    clock.now += 1
    point.evaluate(QUESTION)
    assert stranger.state()["requests"] == 2


@pytest.mark.parametrize("trouble", [{"status": 500}, {"status": 503}, {"status": 429}, {"hang_s": 2}])
def test_an_outage_is_covered_by_the_last_yes_marked_with_its_age_and_then_by_nothing(
    stranger: Stranger, trouble: dict[str, Any]
) -> None:
    clock = Clock()
    point = client(stranger, clock)
    stranger.behave(context=KEPT)
    fresh = point.evaluate(QUESTION)
    stranger.behave(**trouble)
    clock.now += 60
    stale = point.evaluate(QUESTION)
    assert (stale.allowed, stale.stale_s, stale.decision_id) == (True, 60, fresh.decision_id)
    assert stale.context()["stale"] is True
    assert stale.proof()["age_s"] == 60
    clock.now += 51
    with pytest.raises(DecisionPointAwayError):
        point.evaluate(QUESTION)


def test_a_no_is_not_stretched_and_an_unknown_question_is_not_guessed(stranger: Stranger) -> None:
    clock = Clock()
    point = client(stranger, clock)
    stranger.behave(context=KEPT, deny=["acme"])
    assert point.evaluate(QUESTION).allowed is False
    stranger.behave(status=500)
    clock.now += 60
    for question in (QUESTION, replace(QUESTION, tenant_id="globex")):
        with pytest.raises(DecisionPointAwayError):
            point.evaluate(question)


@pytest.mark.parametrize(
    "trouble",
    [
        {"status": 400},
        {"status": 401},
        {"status": 403},
        {"raw": "yes"},
        {"raw": "[]"},
        {"raw": "{}"},
        {"raw": '{"decision": "true"}'},
        {"raw": '{"decision": 1}'},
        {"raw": '{"decision": true, "decision": false}'},
        {"raw": '{"decision": true, "context": {"limits": {"backlog_cap": -1}}}'},
        {"raw": '{"decision": true, "context": {"limits": {"rate": "fast"}}}'},
        {"raw": '{"decision": true, "context": {"max_age_s": "9"}}'},
        {"raw": '{"decision": true, "pad": "' + "x" * (1 << 20) + '"}'},
        {"location": "http://127.0.0.1:1/"},
    ],
    ids=lambda trouble: str(trouble)[:60],
)
def test_what_is_no_decision_fails_closed_and_nothing_kept_covers_it(
    stranger: Stranger, trouble: dict[str, Any]
) -> None:
    clock = Clock()
    point = client(stranger, clock)
    stranger.behave(context=KEPT)
    point.evaluate(QUESTION)
    clock.now += 11
    stranger.behave(**trouble)
    with pytest.raises(DecisionPointAwayError):
        point.evaluate(QUESTION)


def test_last_known_limits_are_good_for_so_many_jobs_of_a_tenant(stranger: Stranger) -> None:
    clock = Clock()
    point = client(stranger, clock, most=3, stale_s=300)
    stranger.behave(context={"max_age_s": 1})
    other = replace(QUESTION, tenant_id="globex")
    point.evaluate_all([QUESTION, other])
    stranger.behave(status=500)
    clock.now += 5
    assert isinstance(point.answers(Counter({QUESTION: 2}))[QUESTION], Answer)
    assert isinstance(point.answers(Counter({QUESTION: 2}))[QUESTION], DecisionPointAwayError)
    assert isinstance(point.answers(Counter({other: 3}))[other], Answer), "another tenant has its own amount"
    stranger.behave(context={"max_age_s": 1})
    clock.now += 60
    point.evaluate(QUESTION)
    stranger.behave(status=500)
    clock.now += 5
    assert isinstance(point.answers(Counter({QUESTION: 3}))[QUESTION], Answer), "it begins anew after an answer"


def test_the_breaker_stops_asking_and_lets_one_question_through_when_its_time_is_over(stranger: Stranger) -> None:
    clock = Clock()
    point = client(stranger, clock)
    stranger.behave(status=500)
    for _ in range(5):
        with pytest.raises(DecisionPointAwayError) as caught:
            point.evaluate(QUESTION)
    assert stranger.state()["requests"] == 3
    assert caught.value.retry_after_s >= 1
    stranger.behave()
    clock.now += 1.1
    assert point.evaluate(QUESTION).allowed is True


def test_nobody_listening_is_an_outage() -> None:
    point = RemotePoint(
        name="governance", transport=Transport(url=f"http://127.0.0.1:{free_port()}", token=lambda: "t")
    )
    with pytest.raises(DecisionPointAwayError):
        point.evaluate(QUESTION)


def test_no_proxy_of_the_environment_is_used(stranger: Stranger, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert client(stranger, Clock()).evaluate(QUESTION).allowed is True


def test_the_metadata_says_where_to_ask_but_only_at_home(stranger: Stranger) -> None:
    where = {"access_evaluation_endpoint": f"{stranger.url}/elsewhere/access/v1/evaluation"}
    stranger.behave(metadata=where)
    assert client(stranger, Clock()).evaluate(QUESTION).allowed is True
    stranger.behave(metadata={"access_evaluation_endpoint": "http://127.0.0.1:1/access/v1/evaluation"})
    with pytest.raises(DecisionPointAwayError):
        client(stranger, Clock()).evaluate(QUESTION)


def test_a_point_without_batches_is_asked_one_by_one(stranger: Stranger) -> None:
    stranger.behave(batches=False, deny=["globex"])
    answers = client(stranger, Clock()).evaluate_all([QUESTION, replace(QUESTION, tenant_id="globex")])
    assert [each.allowed for each in answers] == [True, False]
