"""A tenant's person at the tenant's page: what they see comes by itself, in their time, and is theirs alone."""

from __future__ import annotations

import json

from opsplatform.plane import Plane
from tests.browser.conftest import SignedIn
from tests.support.browser import Page
from tests.support.client import Caller, wait_for


def row(job_id: str) -> str:
    """Return an expression for the words of a job's row in the history; undefined while there is none."""
    return f"document.getElementById('job-{job_id}')?.closest('tr').innerText"


def stays(page: Page) -> None:
    """Mark the page, so that one can tell whether another took its place."""
    page.evaluate("window.same = true")


def test_a_person_signs_in_and_sees_their_tenant_and_no_other(
    signed_in: SignedIn, caller: Caller, plane: Plane
) -> None:
    job_id = caller.submit("ops.noop")["job_id"]
    caller.wait(job_id)
    page = signed_in("acme")
    assert page.evaluate("location.pathname") == "/console/acme/"
    assert "succeeded" in page.until(row(job_id), what="the job in the history")
    assert page.complaints() == []
    page.goto(f"{plane.url}/console/globex/")
    assert "There is nothing here" in page.text()
    page.evaluate("document.querySelector('form[action$=sign-out] button').click()")
    page.until("location.pathname.endsWith('/sign-in')", what="the form after signing out")


def test_a_wrong_password_is_told_on_the_form(signed_in: SignedIn, passwords: dict[str, str]) -> None:
    page = signed_in("acme")
    passwords["globex"] = "not it"
    page.evaluate("document.querySelector('form[action$=sign-out] button').click()")
    page.until("document.activeElement?.name === 'username'", what="the form")
    page.type("globex")
    page.press("Tab")
    page.type("not it")
    page.press("Enter")
    page.until("document.querySelector('[role=alert].refusal')", what="the refusal")
    assert page.evaluate("document.querySelector('[name=username]').value") == "globex"


def test_a_job_appears_and_ends_under_the_readers_eyes(signed_in: SignedIn, caller: Caller) -> None:
    page = signed_in("acme")
    stays(page)
    job_id = caller.submit("ops.sleep", {"seconds": 6})["job_id"]
    page.until(f"({row(job_id)} ?? '').includes('running')", what="the job to run in the history")
    page.evaluate(f"document.getElementById('job-{job_id}').focus()")
    page.until(f"({row(job_id)} ?? '').includes('succeeded')", what="its end in the history")
    assert page.evaluate("document.activeElement.id") == f"job-{job_id}", "the reader's place is kept"
    assert page.evaluate("window.same") is True, "no page was loaded anew"
    assert page.complaints() == []


def test_a_jobs_page_follows_it_to_its_sealed_end_and_then_rests(
    signed_in: SignedIn, caller: Caller, plane: Plane
) -> None:
    page = signed_in("acme")
    job_id = caller.submit("ops.sleep", {"seconds": 8})["job_id"]
    page.goto(f"{plane.url}/console/acme/jobs/{job_id}")
    stays(page)
    page.until("document.querySelector('#part-story h1').innerText.includes('running')", what="the job to run")
    page.until("document.querySelector('#log-lines li')", what="the first line of its log")
    page.until(
        "document.querySelector('#part-story').innerText.includes('is sealed in the tenant’s log')",
        what="its end, sealed",
    )
    page.until("document.querySelector('#log-more').innerText.includes('ends here')", what="the end of its log")
    assert page.evaluate("window.same") is True
    page.until("document.getElementById('said').textContent.includes('succeeded')", what="its end to be said aloud")
    assert page.evaluate("document.querySelectorAll('[hx-trigger]').length") == 0, "what is over asks for nothing"
    link = page.evaluate("document.querySelector('a[download]').href")
    receipt = page.evaluate(f"fetch({json.dumps(link)}).then(answer => answer.json())")
    assert (receipt["subject"], receipt["complete"]) == (f"job:{job_id}", True)
    assert page.complaints() == []


def test_a_hidden_page_asks_for_nothing_until_somebody_looks(signed_in: SignedIn, caller: Caller) -> None:
    page = signed_in("acme")

    def renewals() -> int:
        return sum("seen=" in address for address in page.asked())

    wait_for(lambda: renewals() > 0, what="the page to renew itself")
    page.hide()
    before = renewals()
    # A clock of the tab's own, as many beats long as would be told apart from none.
    page.evaluate("new Promise(done => setTimeout(done, 7000))")
    assert renewals() == before
    job_id = caller.submit("ops.noop")["job_id"]
    page.show()
    page.until(row(job_id), what="what came meanwhile")


def test_a_page_that_is_to_stand_still_does(signed_in: SignedIn, caller: Caller) -> None:
    page = signed_in("acme")
    page.click("#live")
    assert page.text("#live") == "Still"
    before = len(page.asked())
    job_id = caller.submit("ops.noop")["job_id"]
    page.evaluate("new Promise(done => setTimeout(done, 7000))")
    assert len(page.asked()) == before
    page.click("#live")
    page.until(row(job_id), what="what came meanwhile")


def test_a_filter_narrows_the_history_and_the_way_back_widens_it(signed_in: SignedIn, caller: Caller) -> None:
    failed = caller.submit("ops.fail", {"times": 1, "permanent": True})["job_id"]
    fine = caller.submit("ops.noop")["job_id"]
    caller.wait(failed)
    caller.wait(fine)
    page = signed_in("acme")
    page.until(row(fine), what="both in the history")
    page.choose("select[name=status]", "failed")
    page.until(f"{row(failed)} && !{row(fine)}", what="the failed one alone")
    assert page.evaluate("location.search") == "?status=failed"
    page.evaluate("history.back()")
    page.until(f"location.search === '' && {row(fine)}", what="both again")
    assert page.evaluate("document.querySelector('select[name=status]').value") == ""


def test_a_failure_becomes_an_alert_and_a_ticket_beside_the_jobs_and_leads_back_to_its_job(
    signed_in: SignedIn, caller: Caller
) -> None:
    page = signed_in("acme")
    stays(page)
    # Of a kind that no other test of this plane has: what repeats an older alert stands where that stands.
    failed = caller.submit("ingest.file", {"source": "incoming/mislaid.csv", "dataset": "mislaid"})["job_id"]
    mine = "[...document.querySelectorAll('[id^={kind}-]')].find(each => each.innerText.includes('ingest.file'))"
    for kind in ("alert", "ticket"):
        page.until(mine.format(kind=kind), what=f"its {kind} beside the jobs")
    assert page.evaluate("window.same") is True
    page.click("#" + page.evaluate(f"{mine.format(kind='ticket')}.id"))
    page.until("document.querySelector('#part-ticket')?.innerText.includes('opened it')", what="the ticket's page")
    assert "ingest.file" in page.text("h1")
    page.click("dd a[href*='/jobs/']")
    page.until("document.querySelector('#part-story h1')?.innerText.includes('ingest.file')", what="its job's page")
    assert page.complaints() == []
    assert caller.wait(failed)["status"] == "failed"


def test_times_are_the_readers_own_and_utc_when_pointed_at(signed_in: SignedIn, caller: Caller) -> None:
    job = caller.submit("ops.noop")
    page = signed_in("acme", zone="Asia/Tokyo")
    page.until(row(job["job_id"]), what="the job in the history")
    at = f"document.getElementById('job-{job['job_id']}').closest('tr').querySelector('time')"
    shown, title, iso = page.evaluate(f"(t => [t.textContent, t.title, t.dateTime])({at})")
    assert title == f"{iso[:10]} {iso[11:23]} UTC"
    there = page.evaluate(
        f"new Date({json.dumps(iso)}).toLocaleTimeString('en-GB', {{timeZone: 'Asia/Tokyo', hourCycle: 'h23'}})"
    )
    assert shown.endswith(there)
    assert iso[11:19] != there


def test_a_plane_that_does_not_answer_is_told_and_so_is_its_return(signed_in: SignedIn) -> None:
    page = signed_in("acme")
    page.cut(off=True)
    page.until("!document.getElementById('away').hidden", what="the word that nobody answers")
    page.cut(off=False)
    page.until("document.getElementById('away').hidden", what="the word to go")


def test_an_operator_chooses_a_tenant_and_is_told_as_whom_they_look(signed_in: SignedIn, caller: Caller) -> None:
    job_id = caller.submit("ops.noop")["job_id"]
    page = signed_in("operator")
    page.until("document.querySelector('a[href=\"/console/acme/\"]')", what="the tenants")
    page.click('a[href="/console/acme/"]')
    page.until(row(job_id), what="acme's history")
    assert "operator’s look" in page.text(".bar")
