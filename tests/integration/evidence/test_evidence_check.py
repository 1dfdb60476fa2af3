"""`manage.py evidence_check`: whole evidence is found whole; a changed or a missing record is named."""

import json
from typing import Any

import psycopg
import pytest
from django.core.management import call_command

from tests.support import work

pytestmark = pytest.mark.usefixtures("db")


def checked(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Run the check; return what it found, with its exit code."""
    capsys.readouterr()
    code: Any = 0
    try:
        call_command("evidence_check", "--json")
    except SystemExit as ended:
        code = ended.code
    return {**json.loads(capsys.readouterr().out), "code": code}


def test_no_evidence_is_intact(capsys: pytest.CaptureFixture[str]) -> None:
    assert checked(capsys) | {"limits": ""} == {
        "verdict": "intact",
        "records": 0,
        "by_predicate": {},
        "changed": [],
        "missing": [],
        "open": 0,
        "limits": "",
        "code": 0,
    }


def test_records_of_all_tenants_are_examined(capsys: pytest.CaptureFixture[str]) -> None:
    work.admitted(tenant="acme")
    work.submitted("kpi.refresh", tenant="globex")
    found = checked(capsys)
    assert (found["verdict"], found["by_predicate"], found["open"]) == ("intact", {"admission": 1, "refusal": 1}, 1)


@pytest.mark.parametrize("column", ["payload", "salt", "leaf"])
def test_a_changed_byte_is_named(
    column: str, superuser: psycopg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    job_id, other = work.admitted(), work.admitted()
    query = (
        f"UPDATE evidence_records SET {column} = set_byte({column}, 0, get_byte({column}, 0) # 1) WHERE subject_id = %s"
    )
    superuser.execute(query.encode(), [str(job_id)])
    found = checked(capsys)
    assert (found["code"], found["verdict"], found["records"]) == (1, "changed", 2)
    assert [one["job_id"] for one in found["changed"]] == [str(job_id)]
    assert str(other) not in str(found["changed"])


def test_an_ended_job_without_its_record_is_named(
    superuser: psycopg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = work.submitted("kpi.refresh")
    superuser.execute("DELETE FROM evidence_records WHERE subject_id = %s", [str(refused.job_id)])
    found = checked(capsys)
    assert (found["code"], found["missing"]) == (1, [str(refused.job_id)])


def test_it_reads_in_words_too(capsys: pytest.CaptureFixture[str]) -> None:
    work.admitted()
    call_command("evidence_check")
    said = capsys.readouterr().out
    assert said.startswith("intact: 1 records (1 admission), 0 changed, 0 missing, 1 jobs still open")
    assert "no signature" in said
