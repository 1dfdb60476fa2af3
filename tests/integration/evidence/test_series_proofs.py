"""What proves a refusal for which another's record stands: receipts, the verifier, the doctor, holds, retention."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.core.management import call_command

from apps.evidence import keys
from apps.evidence.models import Series, SeriesMember
from apps.evidence.queries import examine
from apps.jobs.invariants import PROMISES
from apps.jobs.invariants import examine as broken_of
from apps.tenancy.context import in_tenant
from opsplatform.embedded import Services
from tests.integration.conftest import Change, Control, Look
from tests.support.api import JOBS, Module
from tests.support.client import Truth
from tests.support.invariants import broken
from tests.support.offline import Offline
from tests.support.refusals import counts, evidence, looped, over, receipt, records, verified
from tests.support.work import only

pytestmark = pytest.mark.usefixtures("db", "heads")
Sealed = Callable[[], None]
REFUSED = {"type": "kpi.refresh"}
MEMBER = (
    "INSERT INTO evidence_series_members (subject_id, tenant_id, record_id, digest, joined_at)"
    " SELECT %s, tenant_id, record_id, digest, clock_timestamp() FROM evidence_series WHERE subject_id = %s"
)


@pytest.fixture
def offline(tmp_path: Path) -> Offline:
    made = Offline(tmp_path)
    made.keys.write_text(json.dumps(keys.ring().published()))
    return made


@pytest.fixture
def truth(services: Services) -> Truth:
    assert services.superuser_url is not None
    return Truth(url=services.superuser_url.rsplit("/", 1)[0] + "/ops")


def doctored(control: Control) -> dict[str, str]:
    """Return whom promise 6 names, and what of."""
    (promise,) = [each for each in PROMISES if each.number == 6]
    with control():
        return {each.who: each.wrong for each in broken_of(promise, since="2020-01-01T00:00:00Z")}


class TestThroughTheApi:
    """A module that loops is told the same each time, and finds its evidence by each of its jobs."""

    def test_a_loop_is_answered_like_single_refusals(
        self, acme: Module, look: Look, change: Change, sealed: Sealed
    ) -> None:
        answers = [acme.post(REFUSED) for _ in range(4)]
        assert {(each.status_code, each.json()["code"]) for each in answers} == {(403, "contract_required")}
        jobs = [each.json()["job_id"] for each in answers]
        assert len(set(jobs)) == 4
        record = only(records(look))
        for job_id in jobs:
            read = acme.get(f"{JOBS}/{job_id}").json()
            assert (read["status"], read["evidence"]) == (
                "rejected",
                {"state": "pending", "ref": str(record["record_id"])},
            )
            assert read["decision"]["governance"]["allowed"] is False
        sealed()
        shown = receipt(acme, jobs[2])
        assert (shown["subject"], shown["complete"]) == (f"job:{jobs[2]}", False)
        assert [each["predicate"] for each in shown["records"]] == ["refusal"]
        assert shown["series"]["first"] == f"job:{jobs[0]}"
        assert shown["series"]["entry"]["job"] == jobs[2]
        assert (shown["series"]["count"], shown["series"]["path"]) == (None, None), "it is not counted yet"
        over(change)
        sealed()
        shown = receipt(acme, jobs[2])
        assert (shown["complete"], shown["series"]["count"], shown["series"]["index"]) == (True, 4, 2)
        assert [each["predicate"] for each in shown["records"]] == ["refusal", "series"]
        own = receipt(acme, jobs[0])
        assert (own["complete"], own["series"]) == (True, None)
        assert own["records"] == shown["records"], "the same, under its own name"

    def test_a_limit_is_looped_on_as_well(self, acme: Module, look: Look, change: Change) -> None:
        change("UPDATE plans SET jobs_per_day = 0 WHERE plan_id = 'gold'")
        answers = [acme.post({"type": "ops.noop"}) for _ in range(3)]
        assert {(each.status_code, each.json()["code"]) for each in answers} == {(429, "jobs_per_day")}
        assert all("Retry-After" in each.headers for each in answers)
        assert len(records(look)) == 1

    def test_a_batch_of_a_thousand_is_one_record_and_its_count(
        self, acme: Module, look: Look, change: Change, sealed: Sealed
    ) -> None:
        acme.post(REFUSED)
        began = time.monotonic()
        answer = acme.post({"jobs": [REFUSED] * 999 + [{"type": "ops.noop"}]}, path=f"{JOBS}/batch")
        print(f"1,000 jobs, 999 refused, in {(time.monotonic() - began) * 1000:.0f} ms")
        results = answer.json()["results"]
        assert [each["status"] for each in results] == [403] * 999 + [202]
        jobs = [UUID(each["job_id"]) for each in results[:999]]
        record, admission = sorted(records(look), key=lambda each: str(each["predicate"]), reverse=True)
        assert (record["predicate"], admission["predicate"]) == ("refusal", "admission")
        assert set(evidence(look, jobs)) == {record["record_id"]}
        over(change)
        sealed()
        assert counts(look) == [1000]
        assert receipt(acme, jobs[-1])["series"]["count"] == 1000
        assert verified()["verdict"] == "intact"

    def test_another_tenant_finds_nothing(self, loop: list[UUID]) -> None:
        assert Module("globex").get(f"{JOBS}/{loop[3]}/evidence").status_code == 404
        with in_tenant("globex"):
            assert examine(subject_id=str(loop[3])) == []
            assert {row.tenant_id for row in Series.objects.all()} == {"globex"}
            assert not SeriesMember.objects.exists()

    def test_an_idempotent_repeat_is_not_counted_again(self, acme: Module, look: Look) -> None:
        acme.post(REFUSED)
        for _ in range(3):
            acme.post(REFUSED, **{"Idempotency-Key": "the-same"})
        assert only(look("SELECT count(*) FROM evidence_series_members"))["count"] == 1


class TestAReceipt:
    """A stranger sees that a refusal was counted, without the plane and without the others."""

    @pytest.mark.parametrize("place", range(5))
    def test_verifies_offline(self, offline: Offline, acme: Module, loop: list[UUID], place: int) -> None:
        shown = receipt(acme, loop[place])
        offline.write(shown)
        code, said = offline.verify()
        assert code == 0, said
        assert said.splitlines()[-1] == f"verified: job:{loop[place]}, complete, 2 records"
        assert (f"ok  job:{loop[place]} is {place + 1} of 5 refusals alike" in said) is (place > 0)

    def test_is_exported_by_the_command_as_well(self, offline: Offline, acme: Module, loop: list[UUID]) -> None:
        call_command("evidence_export", str(loop[1]), "--out", str(offline.receipt), "--wait", "1")
        assert json.loads(offline.receipt.read_text()) == receipt(acme, loop[1])

    def test_before_the_count_says_that_it_is_not_complete(
        self, offline: Offline, acme: Module, sealed: Sealed
    ) -> None:
        jobs = looped(2)
        sealed()
        offline.write(receipt(acme, jobs[1]))
        code, said = offline.verify()
        assert (code, said.splitlines()[-1]) == (0, f"verified: job:{jobs[1]}, NOT ended yet, 1 records")

    @pytest.mark.parametrize(
        ("path", "value", "wrong"),
        [
            (("subject",), "job:another", "of something else"),
            (("series",), None, "about something else"),
            (("series", "first"), "job:another", "about something else"),
            (("series", "entry", "job"), "another", "of something else"),
            (("series", "entry", "params_digest"), "sha256:0", "does not lead"),
            (("series", "entry", "refused_at"), "2026-01-01T00:00:00+00:00", "does not lead"),
            (("series", "index"), 3, "does not lead"),
            (("series", "index"), 5, "outside"),
            (("series", "path", 0), "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "does not lead"),
            (("complete",), False, "not what the receipt says"),
        ],
    )
    def test_that_was_changed_is_told(
        self, offline: Offline, acme: Module, loop: list[UUID], path: tuple[Any, ...], value: Any, wrong: str
    ) -> None:
        changed = copy.deepcopy(receipt(acme, loop[2]))
        place: Any = changed
        for each in path[:-1]:
            place = place[each]
        place[path[-1]] = value
        assert wrong in offline.refused(changed)

    def test_of_a_refusal_that_was_not_counted_cannot_be_made_out_of_anothers(
        self, offline: Offline, acme: Module, loop: list[UUID]
    ) -> None:
        stranger = looped(1, submitted_by="a-third")[0]
        forged = receipt(acme, loop[2])
        forged["subject"] = f"job:{stranger}"
        forged["series"]["entry"]["job"] = str(stranger)
        assert "does not lead" in offline.refused(forged)


class TestWhatIsTouched:
    """A job that claims a record of a series to which it does not belong is found, and so is one that was taken out."""

    def test_a_well_plane_is_found_well(self, control: Control, loop: list[UUID], truth: Truth) -> None:
        looped(3)
        assert (verified()["verdict"], verified()["by_predicate"]) == ("intact", {"refusal": 4, "series": 2})
        assert doctored(control) == {}
        assert broken(truth) == []

    def test_a_claim_without_a_place_in_the_series(
        self, control: Control, change: Change, loop: list[UUID], truth: Truth
    ) -> None:
        liar, *_ = looped(1, submitted_by="a-third")
        change(
            "UPDATE jobs SET evidence_id = (SELECT evidence_id FROM jobs WHERE job_id = %s) WHERE job_id = %s",
            loop[0],
            liar,
        )
        assert verified()["missing"] == [str(liar)]
        assert "no record proves it" in doctored(control)[str(liar)]
        assert broken(truth) == [f"6: job {liar} ended without evidence"]

    def test_a_place_that_was_made_in_a_series_that_is_counted(
        self, control: Control, change: Change, loop: list[UUID]
    ) -> None:
        liar, *_ = looped(1, submitted_by="a-third")
        change(
            "UPDATE jobs SET evidence_id = (SELECT evidence_id FROM jobs WHERE job_id = %s) WHERE job_id = %s",
            loop[0],
            liar,
        )
        change(MEMBER, str(liar), str(loop[0]))
        found = verified()
        assert [(each["kind"], each["job_id"]) for each in found["findings"]] == [("series_changed", str(loop[0]))]
        assert "unlike it" in doctored(control)[str(liar)]

    @pytest.mark.parametrize(
        "column", ["type = 'ops.noop'", "reason_code = 'other'", "submitted_by = 'other'", "contract = 'kpi.x@1'"]
    )
    def test_a_place_among_unlike_refusals_while_it_is_open(
        self, control: Control, change: Change, column: str, truth: Truth
    ) -> None:
        jobs = looped(3)
        change(f"UPDATE jobs SET {column} WHERE job_id = %s", jobs[1])
        assert "unlike it" in doctored(control)[str(jobs[1])]
        assert broken(truth) == [f"6: job {jobs[1]} stands among refusals unlike it"]

    def test_other_params_than_were_counted(self, change: Change, loop: list[UUID]) -> None:
        change("UPDATE jobs SET params_digest = 'sha256:0' WHERE job_id = %s", loop[1])
        assert verified()["missing"] == [str(loop[1])]

    @pytest.mark.parametrize("change_to", ["joined_at = joined_at + interval '1 us'", "digest = 'sha256:0'"])
    def test_a_place_that_was_changed(self, change: Change, loop: list[UUID], change_to: str) -> None:
        change(f"UPDATE evidence_series_members SET {change_to} WHERE subject_id = %s", str(loop[1]))
        assert "series_changed" in {each["kind"] for each in verified()["findings"]}

    def test_a_place_that_was_taken_away(self, control: Control, change: Change, loop: list[UUID]) -> None:
        change("DELETE FROM evidence_series_members WHERE subject_id = %s", str(loop[4]))
        found = verified()
        assert found["missing"] == [str(loop[4])]
        assert [each["kind"] for each in found["findings"]] == ["series_changed"]
        assert str(loop[4]) in doctored(control)

    def test_a_job_that_was_taken_away(self, control: Control, change: Change, loop: list[UUID]) -> None:
        change("DELETE FROM decisions WHERE job_id = %s", loop[4])
        change("DELETE FROM jobs WHERE job_id = %s", loop[4])
        assert "not there" in doctored(control)[str(loop[4])]

    def test_a_count_that_was_taken_away(self, change: Change, loop: list[UUID]) -> None:
        change("DELETE FROM evidence_records WHERE predicate = 'series' AND subject_id = %s", str(loop[0]))
        found = verified()
        assert {each["kind"] for each in found["findings"]} == {"record_missing"}
        assert set(found["missing"]) == {str(job_id) for job_id in loop[1:]}

    def test_a_series_that_nobody_counts(self, control: Control, change: Change) -> None:
        first, *_ = looped(2)
        change("UPDATE evidence_series SET closes_at = now() - interval '2 minutes'")
        assert "should have been counted" in doctored(control)[str(first)]
