"""A decision is asked again: alike while nothing changed, and what changed is named; nothing is written by asking."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from apps.core.authzen import DecisionPointAwayError
from apps.jobs import points
from apps.jobs.operations.ruling import DecisionPoints
from tests.integration.conftest import Change, Look
from tests.support.work import admitted, submitted

pytestmark = pytest.mark.usefixtures("db")


def asked(job_id: Any, *words: str) -> tuple[int, str]:
    said, code = StringIO(), 0
    try:
        call_command("replay_decision", str(job_id), *words, stdout=said)
    except SystemExit as ended:
        code = int(ended.code or 0)
    return code, said.getvalue()


def test_what_nobody_changed_is_decided_alike(look: Look) -> None:
    job_id = admitted()
    before = look("SELECT count(*) AS n FROM decisions"), look("SELECT count(*) AS n FROM evidence_records")
    code, said = asked(job_id)
    assert (code, said.count("alike ")) == (0, 2), said
    assert "governance, operations.submit, decided" in said
    assert before == (look("SELECT count(*) AS n FROM decisions"), look("SELECT count(*) AS n FROM evidence_records"))


def test_what_a_plan_says_otherwise_now_is_named(change: Change) -> None:
    job_id = admitted()
    change("UPDATE plans SET backlog_cap = 7")
    code, said = asked(job_id, "--json")
    governance, subscription = sorted(json.loads(said), key=lambda each: str(each["point"]))
    assert code == 1
    assert governance["differs"] == []
    assert "limits" in subscription["differs"]
    assert (subscription["now"]["limits"]["backlog_cap"], subscription["then"]["allowed"]) == (7, True)


def test_a_refusal_may_be_a_yes_by_now(change: Change) -> None:
    job_id = submitted("kpi.refresh", tenant="globex", contract="kpi.seattle-rain@1").job_id
    code, said = asked(job_id)
    assert code == 0, said
    change("UPDATE subscriptions SET plan_id = 'gold' WHERE tenant_id = 'globex'")
    code, said = asked(job_id)
    assert code == 1
    assert "allowed: then False, now True" in said


def test_a_point_that_is_away_and_a_job_that_is_not_there_cannot_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Away:
        def evaluate(self, question: Any) -> Any:
            raise DecisionPointAwayError(point="Governance", retry_after_s=1)

    job_id = admitted()
    monkeypatch.setattr(points, "in_force", lambda: DecisionPoints(governance=Away(), subscription=Away()))
    for wanted, wrong in (
        (job_id, "does not answer"),
        ("nonsense", "an id is"),
        ("0198f3a2-7b1c-7d3e-8f4a-5b6c7d8e9f00", "nothing was decided"),
    ):
        with pytest.raises(CommandError, match=wrong) as refused:
            call_command("replay_decision", str(wanted))
        assert refused.value.returncode == 2
