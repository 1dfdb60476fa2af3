"""What pages of the admin tell of a past: the overview, and a job, whole."""

from __future__ import annotations

from typing import Any

from django.test import Client
from django.urls import reverse

from tests.support.admin import Past


def address(key: Any) -> str:
    return reverse("admin:jobs_job_change", args=[key])


def test_the_overview_tells_of_both_tenants(operator: Client, past: Past) -> None:
    page = operator.get("/admin/").content.decode()
    assert str(past.failed)[-12:] in page
    assert "worker-default" in page
    assert "0 of 1024 slots held · 1 waiting · workers for 4" in page


class TestAJobsPage:
    """One job, whole: what was asked, what came of it, and whether its proof holds."""

    def test_tells_the_whole_story(self, operator: Client, past: Past) -> None:
        page = operator.get(address(past.succeeded)).content.decode()
        for told in (
            "submitted",
            "dispatched",
            "started",
            "ended",
            "half of it",
            "rows 12",
            "the bytes match their leaf",
        ):
            assert told in page

    def test_says_why_a_job_failed_or_was_refused(self, operator: Client, past: Past) -> None:
        assert "Oops oops" in operator.get(address(past.failed)).content.decode()
        assert "not_entitled" in operator.get(address(past.refused)).content.decode()

    def test_says_when_the_proof_does_not_hold(self, operator: Client, past: Past, change: Any) -> None:
        change("UPDATE evidence_records SET payload = '\\x7b7d' WHERE subject_id = %s", str(past.failed))
        page = operator.get(address(past.failed)).content.decode()
        assert "the bytes were changed after they were written" in page

    def test_shows_markup_in_what_callers_wrote_as_text(self, operator: Client, past: Past, change: Any) -> None:
        change("UPDATE jobs SET params = %s::jsonb WHERE job_id = %s", '{"a": "<script>x</script>"}', past.waiting)
        page = operator.get(address(past.waiting)).content.decode()
        assert "<script>x" not in page
        assert "&lt;script&gt;x" in page
