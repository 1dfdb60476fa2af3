"""What the pages tell: the history and its filters, a job's story, what was recovered from, its proof and its log."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from apps.jobs.lifecycle import Ending
from apps.jobs.operations.run import report
from tests.integration.conftest import Change, Control, Look
from tests.integration.console.conftest import Past, at, page
from tests.support.api import Module, said
from tests.support.work import admitted, claimed, finish, naming, worker

PART = {"HX-Request": "true"}


def shown(text: str) -> list[str]:
    """Return the ids of the jobs in a history, in their order."""
    return re.findall(r'id="job-([0-9a-f-]{36})"', text)


def renewal(text: str, name: str) -> str | None:
    """Return where a part asks for itself again; None where it does not."""
    found = re.search(rf'id="part-{name}" class="part"(?: hx-get="([^"]+)")?', text)
    assert found is not None
    return found[1] and found[1].replace("&amp;", "&")


def rows(change: Change, count: int) -> None:
    """Add finished jobs to acme's history, by the quickest way."""
    change(
        """
        INSERT INTO jobs (job_id, tenant_id, type, status, priority, environment_id, region, params, params_digest,
            trigger, submitted_by, timeout_s, max_attempts, obligations, attempt, retries, fence, submitted_at,
            unclaimed)
        SELECT gen_random_uuid(), 'acme', 'ops.noop', 'queued', 2, 'default', 'local', '{}', 'none',
            'user', 'many', 60, 3, '{}', 0, 0, 0, now(),
            0 FROM generate_series(1, %s)
        """,
        count,
    )


class TestHistory:
    """Jobs, newest first, a page at a time."""

    def test_tells_of_each_job_how_it_is_and_what_came_of_it(self, acme: Client, past: Past) -> None:
        text = page(acme, at("acme"))
        newest = [past.waiting, past.refused, past.failed, past.recovered, past.succeeded]
        assert shown(text) == [str(each) for each in newest]
        assert "it rained too much" in text
        assert "runs only under a contract" in text
        assert "All 5 jobs:" in text

    @pytest.mark.parametrize(
        ("asked", "names"),
        [
            ({"status": "failed"}, ["failed"]),
            ({"status": "rejected"}, ["refused"]),
            ({"type": "ops.fail"}, ["failed"]),
            ({"type": "ops.noop", "status": "queued"}, ["waiting"]),
            ({"within": "1h", "status": "failed"}, ["failed"]),
            ({"status": "timed_out"}, []),
        ],
    )
    def test_filters_keep_what_they_should(
        self, acme: Client, past: Past, asked: dict[str, str], names: list[str]
    ) -> None:
        text = page(acme, at("acme"), asked)
        assert shown(text) == [str(getattr(past, name)) for name in names]
        assert names or "No job is like that" in text

    def test_a_day_is_a_day_of_utc(self, acme: Client, past: Past) -> None:
        today = datetime.now(tz=UTC).date()
        assert str(past.succeeded) in page(acme, at("acme"), {"day": today.isoformat()})
        for other in (today - timedelta(days=2), today + timedelta(days=2)):
            assert shown(page(acme, at("acme"), {"day": other.isoformat()})) == []

    def test_what_makes_no_sense_is_left_out_and_said(self, acme: Client, past: Past) -> None:
        nonsense = {"status": "<b>", "type": "no.such", "within": "9y", "day": "2026-02-31", "before": "'"}
        text = page(acme, at("acme"), nonsense)
        assert str(past.succeeded) in text
        assert text.count("it was left out") == len(nonsense)
        assert "“<b>”" not in text
        assert "“&lt;b&gt;” is no status" in text

    def test_pages_follow_each_other_without_a_gap(self, acme: Client, past: Past, change: Change) -> None:
        rows(change, 90)
        address, found, turned = at("acme"), [], 0
        while address:
            text = page(acme, address)
            found += shown(text)
            older = re.search(r'href="([^"]+)">Older jobs', text)
            address, turned = (older[1].replace("&amp;", "&") if older else ""), turned + 1
        assert (turned, len(found), len(set(found))) == (3, 95, 95)
        assert found == sorted(found, reverse=True)

    def test_a_page_further_down_stands_still_and_leads_back(self, acme: Client, past: Past) -> None:
        text = page(acme, at("acme"), {"before": str(past.refused), "status": "failed"})
        assert shown(text) == [str(past.failed)]
        assert f'href="{at("acme")}?status=failed">Newest jobs' in text
        assert renewal(text, "history") is None

    def test_an_empty_one_says_what_would_appear(self, acme: Client) -> None:
        text = page(acme, at("acme"))
        assert "No job yet." in text
        assert "appears here as it comes" in text

    def test_asks_as_much_for_many_rows_as_for_few(self, acme: Client, past: Past, change: Change) -> None:
        counts = []
        for more in (0, 80):
            rows(change, more)
            with CaptureQueriesContext(connection) as asked:
                page(acme, at("acme"))
            counts.append(len(asked))
        assert counts[0] == counts[1] < 24


class TestRenewing:
    """A part asks for itself every few seconds, and is sent where it changed."""

    def again(self, text: str, name: str) -> str:
        found = renewal(text, name)
        assert found is not None
        return found

    def test_nothing_is_sent_while_nothing_changed(self, acme: Client, past: Past) -> None:
        address = self.again(page(acme, at("acme"), {"status": "queued"}), "history")
        assert acme.get(address, headers=PART).status_code == 204
        fresh = admitted()
        answer = acme.get(address, headers=PART)
        assert shown(answer.content.decode()) == [str(fresh), str(past.waiting)]
        assert "HX-Push-Url" not in answer, "the address is the reader's, not the clock's"
        assert acme.get(self.again(answer.content.decode(), "history"), headers=PART).status_code == 204

    def test_a_filter_chosen_stands_in_the_address(self, acme: Client, past: Past) -> None:
        answer = acme.get(at("acme", "history"), {"status": "failed", "type": "", "day": ""}, headers=PART)
        assert answer["HX-Push-Url"] == f"{at('acme')}?status=failed"
        assert shown(answer.content.decode()) == [str(past.failed)]

    def test_a_part_opened_by_itself_is_its_page(self, acme: Client) -> None:
        assert acme.get(at("acme", "history"), {"status": "failed"})["Location"] == f"{at('acme')}?status=failed"

    def test_a_job_renews_itself_until_it_is_over_sealed_and_accepted(
        self, acme: Client, control: Control, seal: Callable[[], None], change: Change
    ) -> None:
        job_id = admitted()
        address = self.again(page(acme, at("acme", f"jobs/{job_id}")), "story")
        with control():
            run = claimed(job_id, worker_id=worker())
        text = acme.get(address, headers=PART).content.decode()
        assert "Attempt 1 started" in text
        with control():
            finish(run)
        text = acme.get(self.again(text, "story"), headers=PART).content.decode()
        assert "Over: succeeded" in text
        assert "not sealed yet" in text
        seal()
        text = acme.get(self.again(text, "story"), headers=PART).content.decode()
        assert "is sealed in the tenant’s log" in text
        assert "sink has not accepted it yet" in text
        change(
            "INSERT INTO evidence_emissions (emission_id, tenant_id, region, start, size, ref)"
            " SELECT gen_random_uuid(), tenant_id, region, 0, max(number) + 1, 'kept-as-1' FROM evidence_records"
            " WHERE tenant_id = 'acme' GROUP BY tenant_id, region"
        )
        text = acme.get(self.again(text, "story"), headers=PART).content.decode()
        assert "kept-as-1" in text
        assert "hx-get" not in text


class TestAJob:
    """One job, whole."""

    def test_tells_why_it_waits(self, acme: Client, past: Past) -> None:
        text = page(acme, at("acme", f"jobs/{past.waiting}"))
        assert "Why it waits" in text
        assert "No scheduler is alive" in text

    def test_tells_its_story_in_words(self, acme: Client, past: Past) -> None:
        text = page(acme, at("acme", f"jobs/{past.failed}"))
        for told in (
            "Submitted by data-acquisition",
            "Governance allowed its submission",
            "Subscription allowed its submission",
            "Got a slot, and was sent to a worker",
            "Attempt 1 started",
            "Attempt 1 failed",
            "Over: failed",
            "It ended as failed: it rained too much",
        ):
            assert told in text
        assert "{" not in text.partition("<main")[2], "no JSON is dumped on a reader"

    def test_tells_who_refused_it(self, acme: Client, past: Past) -> None:
        text = page(acme, at("acme", f"jobs/{past.refused}"))
        assert "Governance refused its submission" in text
        assert "It was refused by governance" in text

    def test_tells_what_was_recovered_from_who_noticed_and_what_it_cost(
        self, acme: Client, past: Past, look: Look
    ) -> None:
        text = page(acme, at("acme", f"jobs/{past.recovered}")).partition('id="recovery"')[2]
        assert "A worker that was stopping handed it back" in text
        assert "told by the worker itself" in text
        assert "Queued again for another worker" in text
        assert "cost: no attempt" in text
        assert "Nothing had to be recovered" in page(acme, at("acme", f"jobs/{past.succeeded}"))

    def test_tells_what_was_done_by_hand(self, acme: Client, past: Past, control: Control) -> None:
        module = Module("acme")
        said(module.post({}, path=f"/operations/jobs/{past.failed}/retry"), 202)
        said(module.post({"priority": "high"}, path=f"/operations/jobs/{past.failed}/reprioritize"), 202)
        text = page(acme, at("acme", f"jobs/{past.failed}"))
        assert "had it run again" in text
        assert "moved it to priority high" in text

    def test_tells_the_verdict_on_its_proof_and_hands_out_the_receipt(self, acme: Client, past: Past) -> None:
        assert "is sealed in the tenant’s log" in page(acme, at("acme", f"jobs/{past.succeeded}"))
        answer = acme.get(at("acme", f"jobs/{past.succeeded}/receipt"))
        assert answer["Content-Disposition"] == f'attachment; filename="receipt-{past.succeeded}.json"'
        mine, its = json.loads(answer.content), said(Module("acme").get(f"/operations/jobs/{past.succeeded}/evidence"))
        for document in (mine, its):
            assert document["complete"] is True
            assert document["subject"] == f"job:{past.succeeded}"
        assert [each["proof"] for each in mine["records"]] == [each["proof"] for each in its["records"]]

    def test_says_when_the_proof_does_not_hold(self, acme: Client, past: Past, change: Change) -> None:
        change("UPDATE evidence_records SET payload = '\\x7b7d' WHERE subject_id = %s", str(past.failed))
        assert "Touched." in page(acme, at("acme", f"jobs/{past.failed}"))

    def test_shows_markup_in_what_callers_wrote_as_text(self, acme: Client, past: Past, change: Change) -> None:
        change("UPDATE jobs SET params = %s::jsonb WHERE job_id = %s", '{"a": "<script>x</script>"}', past.waiting)
        text = page(acme, at("acme", f"jobs/{past.waiting}"))
        assert "<script>x" not in text
        assert "&lt;script&gt;x" in text

    def test_asks_as_much_for_a_long_story_as_for_a_short_one(self, acme: Client, past: Past, control: Control) -> None:
        counts = []
        for times in (1, 6):
            job_id = admitted()
            with control():
                mine = worker()
                for _ in range(times):
                    finish(claimed(job_id, worker_id=mine), Ending.HANDED_BACK)
            with CaptureQueriesContext(connection) as asked:
                page(acme, at("acme", f"jobs/{job_id}"))
            counts.append(len(asked))
        assert counts[0] == counts[1] < 40


class TestLog:
    """Lines as they are written."""

    def test_shows_what_the_job_said(self, acme: Client, past: Past) -> None:
        text = page(acme, at("acme", f"jobs/{past.succeeded}"))
        assert "half of it" in text
        assert "rows 12" in text
        assert "The log ends here." in text
        assert "It wrote no line." in page(acme, at("acme", f"jobs/{past.failed}"))

    def test_is_followed_until_the_job_is_over(self, acme: Client, control: Control) -> None:
        job_id = admitted()
        with control():
            run = claimed(job_id, worker_id=worker())
        address = at("acme", f"jobs/{job_id}/log?after=0.0")
        assert acme.get(address, headers=PART).status_code == 204
        with control():
            line = ["2026-01-01T00:00:00Z", "warning", "nearly done", {}]
            report(**naming(run), progress=None, first_line=1, lines=[line])
        text = acme.get(address, headers=PART).content.decode()
        assert "nearly done" in text
        assert f"after={run.fence}.1" in text.replace("&amp;", "&")
        assert 'hx-trigger="tick from:body"' in text
        with control():
            finish(run)
        text = acme.get(at("acme", f"jobs/{job_id}/log?after={run.fence}.1"), headers=PART).content.decode()
        assert "The log ends here." in text
        assert "hx-get" not in text

    def test_a_long_one_begins_near_its_end_and_is_there_whole(self, acme: Client, control: Control) -> None:
        job_id = admitted()
        with control():
            run = claimed(job_id, worker_id=worker())
            for first in range(1, 3001, 100):
                lines = [["2026-01-01T00:00:00Z", "info", f"line {n}.", {}] for n in range(first, first + 100)]
                report(**naming(run), progress=None, first_line=first, lines=lines)
            finish(run)
        address = at("acme", f"jobs/{job_id}")
        text = page(acme, address)
        assert ("line 3000." in text, "line 2801." in text, "line 1." in text) == (True, True, False)
        text, found = page(acme, address, {"log": "whole"}), []
        while True:
            found += re.findall(r"line (\d+)\.", text)
            more = re.search(r'hx-get="([^"]+log\?after=[^"]+)"', text)
            if more is None:
                break
            text = acme.get(more[1], headers=PART).content.decode()
        assert found == [str(n) for n in range(1, 3001)]

    def test_a_position_that_is_none_is_refused(self, acme: Client, past: Past) -> None:
        assert acme.get(at("acme", f"jobs/{past.succeeded}/log"), {"after": "x"}).status_code == 400
