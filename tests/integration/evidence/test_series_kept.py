"""How long a record that stands for several refusals is kept, and who may touch what counts them."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from uuid import UUID

import pytest
from django.core.management import call_command
from django.db import Error, connection

from apps.evidence import keys
from apps.evidence.operations.erase import erase
from apps.jobs.retention import past_retention
from apps.tenancy.context import in_tenant
from tests.integration.conftest import Change, Control, Look
from tests.support.api import Module
from tests.support.refusals import looped, over, receipt, verified

pytestmark = pytest.mark.usefixtures("db", "heads")
Sealed = Callable[[], None]


class TestRetention:
    """The record that stands for many goes when the last of them may go, and a hold on any of them keeps it."""

    @pytest.fixture
    def old(self, loop: list[UUID], change: Change) -> list[UUID]:
        """The loop, past the retention of all its jobs."""
        ids = [str(job_id) for job_id in loop]
        change(
            "UPDATE jobs SET obligations = '{\"retention_days\": 30}', finished_at = now() - interval '31 days'"
            " WHERE job_id::text = ANY (%s)",
            ids,
        )
        return loop

    def due(self, control: Control) -> int:
        with control():
            return sum(map(len, past_retention(limit=100).values()))

    def test_erases_both_records_and_a_tombstone_explains_it(
        self, control: Control, old: list[UUID], acme: Module
    ) -> None:
        with control():
            (erased,) = erase(past_retention(limit=100), actor="records-office", ring=keys.ring())
        assert len(erased.numbers) == 2
        assert verified()["verdict"] == "intact"
        shown = receipt(acme, old[3])
        assert [(each["predicate"], each["envelope"]) for each in shown["records"]] == [
            ("refusal", None),
            ("series", None),
        ]

    @pytest.mark.parametrize("later", ["finished_at = now() - interval '29 days'", "obligations = '{}'"])
    def test_waits_for_the_last_of_those_for_which_it_stands(
        self, control: Control, change: Change, old: list[UUID], later: str
    ) -> None:
        assert self.due(control) == 2
        change(f"UPDATE jobs SET {later} WHERE job_id = %s", old[3])
        assert self.due(control) == 0

    def test_waits_for_the_count(self, control: Control, change: Change, sealed: Sealed) -> None:
        looped(2)
        sealed()
        change("UPDATE jobs SET obligations = '{\"retention_days\": 30}', finished_at = now() - interval '31 days'")
        assert self.due(control) == 0
        over(change)
        sealed()
        assert self.due(control) == 2

    @pytest.mark.parametrize("place", [0, 2, 4])
    def test_is_forbidden_by_a_hold_on_any_of_them(
        self, control: Control, look: Look, old: list[UUID], place: int
    ) -> None:
        with control():
            due = past_retention(limit=100)
        said = StringIO()
        words = ("--tenant", "acme", "--job", str(old[place]), "--reason", "lawsuit", "--by", "counsel")
        call_command("legal_hold", "place", *words, stdout=said)
        assert self.due(control) == 0
        with control():
            assert erase(due, actor="records-office", ring=keys.ring()) == [], "the deed asks as well"
        with control(), connection.cursor() as cursor, pytest.raises(Error, match="permission denied"):
            cursor.execute(
                "UPDATE evidence_records SET payload = NULL, salt = NULL WHERE subject_id = %s", [str(old[0])]
            )
        assert look("SELECT 1 FROM evidence_records WHERE payload IS NULL") == []
        call_command("legal_hold", "release", said.getvalue().strip(), "--by", "counsel")
        assert self.due(control) == 2

    def test_is_not_forbidden_by_a_hold_on_one_of_another_series(self, control: Control, old: list[UUID]) -> None:
        other = looped(2, submitted_by="a-third")[1]
        words = ("--tenant", "acme", "--job", str(other), "--reason", "r", "--by", "b")
        call_command("legal_hold", "place", *words, stdout=StringIO())
        assert self.due(control) == 2


class TestTheWall:
    """Members are written once; of a series the web process may say no more than that nobody joins it any more."""

    @pytest.mark.parametrize(
        "statement",
        [
            "DELETE FROM evidence_series",
            "DELETE FROM evidence_series_members",
            "UPDATE evidence_series_members SET subject_id = '1'",
            "UPDATE evidence_series SET count = 1",
            "UPDATE evidence_series SET closed_at = now()",
            "UPDATE evidence_series SET subject_id = '1'",
        ],
    )
    def test_holds(self, loop: list[UUID], statement: str) -> None:
        with in_tenant("acme"), connection.cursor() as cursor, pytest.raises(Error, match="permission denied"):
            cursor.execute(statement)
