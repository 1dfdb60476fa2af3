"""Evidence past its retention loses its bytes and nothing else: tombstones explain it, and holds forbid it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import Error, connection
from structlog.testing import capture_logs

from apps.evidence import keys
from apps.evidence.logs import Log
from apps.evidence.models import LegalHold
from apps.evidence.operations.erase import erase
from apps.evidence.tombstones import Hole, tombstone
from apps.jobs.retention import erase_past_retention, past_retention
from apps.tenancy.context import in_tenant, operator_reading
from tests.integration.conftest import Change, Control, Look
from workers import ticks

pytestmark = pytest.mark.usefixtures("db", "heads")
ACME = Log("acme", "local")


@pytest.fixture
def old(done: Callable[..., str], sealed: Callable[[], None], change: Change) -> list[str]:
    """Two jobs of acme's that ended long ago, one of globex's, and one of acme's whose time is not over."""
    made = [done(), done(), done("globex"), done()]
    sealed()
    change("UPDATE jobs SET obligations = '{\"retention_days\": 30}', finished_at = now() - interval '31 days'")
    change("UPDATE jobs SET finished_at = now() - interval '29 days' WHERE job_id = %s", made[3])
    return made


def ran(control: Control, *words: str) -> str:
    said = StringIO()
    with control():
        call_command("evidence_erase", "--actor", "records-office", *words, stdout=said)
    return said.getvalue()


def verified() -> dict[str, Any]:
    said = StringIO()
    with suppress(SystemExit):
        call_command("evidence_verify", "--json", stdout=said)
    return dict(json.loads(said.getvalue()))


def kinds() -> set[tuple[str, int | None]]:
    return {(one["kind"], one["number"]) for one in verified()["findings"]}


def erased(look: Look) -> set[str]:
    return {row["subject_id"] for row in look("SELECT subject_id FROM evidence_records WHERE payload IS NULL")}


def test_what_is_past_its_retention_is_erased_and_explained(
    control: Control, old: list[str], look: Look, sealed: Callable[[], None]
) -> None:
    assert "acme in local: 4 records are past 30 days" in ran(control, "--dry-run")
    assert erased(look) == set(), "a dry run erases nothing"
    said = ran(control)
    assert "acme in local: 4 records past 30 days were erased; tombstone" in said
    assert "globex in local: 2 records past 30 days were erased; tombstone" in said
    assert erased(look) == set(old[:3])
    for row in look("SELECT payload, salt, leaf FROM evidence_records WHERE subject_id = %s", old[0]):
        assert (row["payload"], row["salt"], len(row["leaf"])) == (None, None, 32)
    for when in ("before the tombstones' own seal", "and after it"):
        found = verified()
        assert (found["verdict"], found["findings"]) == ("intact", []), when
        assert [log["erased"] for log in found["logs"]] == [4, 2]
        sealed()
    (stone,) = look("SELECT payload FROM evidence_records WHERE predicate = 'erasure' AND tenant_id = 'acme'")
    told = json.loads(bytes(stone["payload"]))["predicate"]
    assert (told["actor"], told["policy"]) == ("records-office", {"retention_days": 30})
    assert [hole["number"] for hole in told["erased"]] == [0, 1, 2, 3]
    assert ran(control) == "", "there is nothing left to erase"


def test_nothing_is_erased_without_an_obligation_before_its_end_or_its_seal(
    control: Control, old: list[str], change: Change, look: Look
) -> None:
    change("UPDATE jobs SET obligations = '{}' WHERE job_id = %s", old[0])
    change("UPDATE jobs SET finished_at = NULL, outcome = NULL, status = 'running' WHERE job_id = %s", old[1])
    change("UPDATE evidence_records SET number = NULL WHERE subject_id = %s AND predicate = 'outcome'", old[2])
    assert ran(control) == ""
    assert erased(look) == set()


class TestByTheClock:
    """The daily tick does what the command does, in the plane's name, as far as its minute goes."""

    def test_it_erases_what_is_due_and_heeds_holds(self, control: Control, old: list[str], look: Look) -> None:
        call_command("legal_hold", "place", "--reason", "r", "--by", "b", "--tenant", "globex", stdout=StringIO())
        with capture_logs() as logs:
            for _ in range(2):
                with control():
                    assert ticks.retention() == "ok"
        assert erased(look) == set(old[:2])
        told = [each for each in logs if each["event"] == "evidence_erased"]
        assert [(each["tenant_id"], each["records"], each["retention_days"]) for each in told] == [("acme", 4, 30)]
        assert [each["erased_records"] for each in logs if each["event"] == "retention"] == [4, 0]
        (stone,) = look("SELECT subject_id, payload FROM evidence_records WHERE predicate = 'erasure'")
        assert stone["subject_id"] == told[0]["tombstone"]
        assert json.loads(bytes(stone["payload"]))["predicate"]["actor"] == "operations.retention"
        assert verified()["verdict"] == "intact"

    def test_it_goes_on_in_small_transactions_until_nothing_is_due_or_its_time_is_over(
        self, control: Control, old: list[str]
    ) -> None:
        def run(within_s: float) -> list[int]:
            with control():
                done = erase_past_retention(actor="test", ring=keys.ring(), limit=2, within_s=within_s)
                return [len(each.numbers) for each in done]

        assert run(within_s=0) == [2]
        assert run(within_s=60) == [2, 2]
        assert run(within_s=60) == []


class TestHolds:
    """A hold on a job, or on all of a tenant's, forbids erasure until it is released."""

    def held(self, *words: str) -> str:
        said = StringIO()
        call_command("legal_hold", "place", "--reason", "lawsuit", "--by", "counsel", *words, stdout=said)
        return said.getvalue().strip()

    def test_a_job_is_kept_until_its_hold_is_released(self, control: Control, old: list[str], look: Look) -> None:
        hold = self.held("--tenant", "acme", "--job", old[0])
        listed = StringIO()
        call_command("legal_hold", "list", stdout=listed)
        assert listed.getvalue().strip() == f"{hold} acme job {old[0]}: lawsuit (by counsel)"
        ran(control)
        assert erased(look) == {old[1], old[2]}
        call_command("legal_hold", "release", hold, "--by", "counsel")
        ran(control)
        assert erased(look) == {old[0], old[1], old[2]}
        assert verified()["verdict"] == "intact"

    def test_everything_of_a_tenants_is_kept(self, control: Control, old: list[str], look: Look) -> None:
        self.held("--tenant", "acme")
        ran(control)
        assert erased(look) == {old[2]}

    def test_one_that_was_placed_after_the_look_is_heeded_by_the_deed(
        self, control: Control, old: list[str], look: Look
    ) -> None:
        with control():
            due = past_retention(limit=100)
        self.held("--tenant", "acme", "--job", old[0])
        with control():
            erase(due, actor="records-office", ring=keys.ring())
        assert erased(look) == {old[1], old[2]}
        assert verified()["verdict"] == "intact"

    def test_the_loops_cannot_pass_it_by_hand_either(self, control: Control, old: list[str], look: Look) -> None:
        self.held("--tenant", "acme", "--job", old[0])
        with control(), connection.cursor() as cursor, pytest.raises(Error, match="permission denied"):
            cursor.execute("UPDATE evidence_records SET payload = NULL, salt = NULL WHERE subject_id = %s", [old[0]])
        assert erased(look) == set()

    def test_what_cannot_be_is_said(self) -> None:
        for words in (
            ("place", "--tenant", "nobody", "--reason", "r", "--by", "b"),
            ("place", "--tenant", "acme", "--job", "x", "--reason", "r", "--by", "b"),
            ("release", "0198f3a2-7b1c-7d3e-8f4a-5b6c7d8e9f00", "--by", "b"),
        ):
            with pytest.raises(CommandError) as refused:
                call_command("legal_hold", *words)
            assert refused.value.returncode == 2

    def test_a_tenant_sees_its_own_alone_and_writes_none(self, old: list[str]) -> None:
        self.held("--tenant", "acme")
        with in_tenant("globex"):
            assert list(LegalHold.objects.all()) == []
        with in_tenant("acme"):
            assert len(LegalHold.objects.all()) == 1
            with connection.cursor() as cursor, pytest.raises(Error, match="permission denied"):
                cursor.execute("UPDATE legal_holds SET released_by = 'me', released_at = now()")
        with operator_reading():
            assert len(LegalHold.objects.all()) == 1


class TestUnexplained:
    """An erasure that the plane did not make is named, whatever is written to explain it."""

    def test_bytes_that_vanished_are_named(self, old: list[str], change: Change) -> None:
        change("UPDATE evidence_records SET payload = NULL, salt = NULL WHERE tenant_id = 'acme' AND number = 1")
        assert kinds() == {("record_changed", 1)}

    def test_a_tombstone_explains_its_own_holes_and_no_others(
        self, control: Control, old: list[str], change: Change, sealed: Callable[[], None]
    ) -> None:
        ran(control)
        sealed()
        change("UPDATE evidence_records SET payload = NULL, salt = NULL WHERE tenant_id = 'acme' AND number = 4")
        assert kinds() == {("record_changed", 4)}

    def test_a_tombstone_that_is_changed_or_gone_explains_nothing(
        self, control: Control, old: list[str], change: Change, sealed: Callable[[], None]
    ) -> None:
        ran(control)
        sealed()
        where = "WHERE tenant_id = 'acme' AND predicate = 'erasure'"
        change(f"UPDATE evidence_records SET payload = replace(payload::text, '61', '62')::bytea {where}")
        assert {("record_changed", 0), ("record_changed", 3)} <= kinds()
        change(f"DELETE FROM evidence_records {where}")
        assert {("record_changed", 0), ("record_missing", 6)} <= kinds()

    @pytest.mark.parametrize("forger", ["a stranger", "nobody"])
    def test_a_forged_tombstone_explains_nothing(
        self,
        forger: str,
        old: list[str],
        change: Change,
        look: Look,
        sealed: Callable[[], None],
        tmp_path: Any,
    ) -> None:
        (row,) = look("SELECT leaf FROM evidence_records WHERE tenant_id = 'acme' AND number = 1")
        (tmp_path / "theirs").mkdir()
        keys.ensure(folder=tmp_path / "theirs")
        theirs = keys._parse(tmp_path / "theirs" / keys.FILE)
        subject, said = tombstone(
            ACME, holes=[Hole(1, bytes(row["leaf"]))], retention_days=30, actor="forger", ring=theirs
        )
        payload = said.payload
        if forger == "nobody":
            document = json.loads(payload)
            document["predicate"]["signatures"] = []
            payload = json.dumps(document).encode()
        change("UPDATE evidence_records SET payload = NULL, salt = NULL WHERE tenant_id = 'acme' AND number = 1")
        change(
            "INSERT INTO evidence_records (record_id, tenant_id, region, kind, subject_id, fence, predicate, payload,"
            " salt, leaf, created_at) VALUES (%s, 'acme', 'local', 'erasure', %s, 0, 'erasure', %s, %s,"
            " sha256('\\x00'::bytea || sha256(%s::bytea || %s::bytea)), now())",
            *(said.record_id, subject, payload, said.salt, said.salt, payload),
        )
        sealed()
        assert kinds() == {("record_changed", 1)}


def test_a_receipt_of_an_erased_run_keeps_its_proofs(
    control: Control, old: list[str], sealed: Callable[[], None]
) -> None:
    ran(control)
    sealed()
    said = StringIO()
    call_command("evidence_export", old[0], stdout=said)
    records = json.loads(said.getvalue())["records"]
    assert [record["envelope"] for record in records] == [None, None]
    assert all("\nindex " in record["proof"] and "extra" not in record["proof"] for record in records)
