"""`manage.py evidence_verify`: whole logs are found whole; what was touched is named, and the exit code says it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from apps.evidence import keys
from apps.evidence.heads import Heads
from apps.evidence.logs import Log
from apps.evidence.notes import Checkpoint
from tests.integration.conftest import Change
from tests.support import work

pytestmark = pytest.mark.usefixtures("db", "heads")
ACME = Log("acme", "local")


def checked(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """Run the check; return what it found, with its exit code."""
    capsys.readouterr()
    code: Any = 0
    try:
        call_command("evidence_verify", "--json", *words)
    except SystemExit as ended:
        code = ended.code
    return {**json.loads(capsys.readouterr().out), "code": code}


def kinds(found: dict[str, Any]) -> set[str]:
    return {one["kind"] for one in found["findings"]}


def test_no_evidence_is_intact(capsys: pytest.CaptureFixture[str]) -> None:
    assert checked(capsys) == {
        "verdict": "intact",
        "records": 0,
        "by_predicate": {},
        "logs": [],
        "findings": [],
        "missing": [],
        "open": 0,
        "code": 0,
    }


def test_records_of_all_tenants_are_examined_sealed_or_not(
    done: Callable[..., str], sealed: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    done(), done("globex")
    sealed()
    work.admitted(tenant="acme")
    work.submitted("kpi.refresh", tenant="globex")
    found = checked(capsys)
    assert (found["verdict"], found["code"], found["open"]) == ("intact", 0, 1)
    assert found["by_predicate"] == {"admission": 3, "outcome": 2, "refusal": 1}
    logs = [(log["origin"], log["size"], log["unsealed"], log["kept"]) for log in found["logs"]]
    assert logs == [("operations/local/acme", 2, 1, 2), ("operations/local/globex", 2, 1, 2)]
    assert [log["origin"] for log in checked(capsys, "--tenant", "globex")["logs"]] == ["operations/local/globex"]


@pytest.mark.parametrize("column", ["payload", "salt", "leaf"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_changed_byte_is_named_before_and_after_its_seal(
    column: str, when: str, sealed: Callable[[], None], change: Change, capsys: pytest.CaptureFixture[str]
) -> None:
    job_id, other = work.admitted(), work.admitted()
    if when == "after":
        sealed()
    query = (
        f"UPDATE evidence_records SET {column} = set_byte({column}, 0, get_byte({column}, 0) # 1) WHERE subject_id = %s"
    )
    assert change(query, str(job_id)) == 1
    found = checked(capsys)
    assert (found["code"], found["verdict"], found["records"]) == (1, "touched", 2)
    assert [(one["kind"], one["job_id"]) for one in found["findings"]] == [("record_changed", str(job_id))]
    assert str(other) not in json.dumps(found)


def test_an_ended_job_without_its_record_is_named(change: Change, capsys: pytest.CaptureFixture[str]) -> None:
    refused = work.submitted("kpi.refresh")
    change("DELETE FROM evidence_records WHERE subject_id = %s", str(refused.job_id))
    found = checked(capsys)
    assert (found["code"], found["missing"]) == (1, [str(refused.job_id)])


class TestKeptOutside:
    """What no database can tell of itself."""

    CUT = (
        "DELETE FROM evidence_checkpoints WHERE size > 2",
        "DELETE FROM evidence_nodes WHERE size > 2",
        "DELETE FROM evidence_records WHERE number >= 2",
    )

    @pytest.fixture(autouse=True)
    def _two_steps(self, done: Callable[..., str], sealed: Callable[[], None]) -> None:
        for _ in range(2):
            done()
            sealed()

    def test_a_log_cut_off_at_a_checkpoint_is_whole_in_itself_and_found_by_the_kept_one(
        self, heads: Heads, change: Change, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        kept = heads.note(ACME)
        assert kept is not None
        for statement in self.CUT:
            assert change(statement)
        assert kinds(checked(capsys)) == {"log_truncated"}
        heads._path(ACME).unlink()
        assert kinds(checked(capsys)) == set(), "which is why a checkpoint has to be kept elsewhere"
        (tmp_path / "mine").write_text(kept)
        found = checked(capsys, "--checkpoint", str(tmp_path / "mine"))
        assert (kinds(found), found["code"]) == ({"log_truncated"}, 1)

    def test_a_log_of_which_nothing_is_left_is_missed(self, change: Change, capsys: pytest.CaptureFixture[str]) -> None:
        for table in ("checkpoints", "nodes", "records"):
            change(f"DELETE FROM evidence_{table}")
        assert kinds(checked(capsys)) == {"log_truncated"}

    def test_a_log_signed_anew_with_the_planes_own_key_is_found(
        self, heads: Heads, change: Change, sealed: Callable[[], None], capsys: pytest.CaptureFixture[str]
    ) -> None:
        kept = heads.note(ACME)
        assert kept is not None
        forge = "UPDATE evidence_records SET number = NULL, payload = convert_to('{}', 'UTF8'), leaf = %s, salt = %s"
        change(forge + " WHERE number = 0", leaf_of_nothing(), b"")
        change("UPDATE evidence_records SET number = NULL")
        change("DELETE FROM evidence_nodes")
        change("DELETE FROM evidence_checkpoints")
        heads._path(ACME).unlink()
        heads.forget(ACME)
        sealed()
        assert kinds(checked(capsys)) == set(), "it is whole in itself, and rightly signed"
        heads.keep(ACME, keys.ring().opened(kept, origin=ACME.origin), note=kept)
        assert kinds(checked(capsys)) == {"log_rewritten"}

    def test_a_kept_checkpoint_that_was_changed_is_not_believed(
        self, heads: Heads, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = heads._path(ACME)
        path.write_text(path.read_text().replace("\n4\n", "\n5\n"))
        assert kinds(checked(capsys)) == {"head_unreadable"}

    @pytest.mark.parametrize("text", ["no note", "operations/local/acme\n1\n", "another/log\n\n— x QQ==\n"])
    def test_a_file_that_proves_nothing_cannot_be_told(self, text: str, tmp_path: Path) -> None:
        (tmp_path / "file").write_text(text)
        with pytest.raises(CommandError, match="--checkpoint") as refused:
            call_command("evidence_verify", "--checkpoint", str(tmp_path / "file"))
        assert refused.value.returncode == 2

    def test_an_older_checkpoint_of_any_size_is_compared(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        never = keys.ring().signed(Checkpoint(origin=ACME.origin, size=3, root=bytes(32)))
        (tmp_path / "fork").write_text(never)
        assert kinds(checked(capsys, "--checkpoint", str(tmp_path / "fork"))) == {"log_rewritten"}


def leaf_of_nothing() -> bytes:
    from apps.evidence.merkle import leaf_of  # noqa: PLC0415 - the forger's own tool

    return leaf_of(payload=b"{}", salt=b"")


def test_keys_rotate_and_the_whole_log_still_verifies(
    done: Callable[..., str], sealed: Callable[[], None], capsys: pytest.CaptureFixture[str], own_keys: Path
) -> None:
    (old, _), *_ = keys.ring().signing
    done()
    sealed()
    call_command("evidence_keys", "rotate")
    done()
    sealed()
    call_command("evidence_keys", "retire", old)
    done()
    sealed()
    found = checked(capsys)
    assert (found["verdict"], found["logs"][0]["size"]) == ("intact", 6)
    assert old not in [kid for kid, _ in keys.ring().signing]


def test_it_reads_in_words_too(
    done: Callable[..., str], sealed: Callable[[], None], change: Change, capsys: pytest.CaptureFixture[str]
) -> None:
    job_id = done()
    sealed()
    call_command("evidence_verify")
    said = capsys.readouterr().out
    assert said.startswith("intact: 2 records (1 admission, 1 outcome), 0 jobs still open")
    assert "operations/local/acme: intact, 2 sealed under 1 checkpoints, 0 waiting, kept outside at 2" in said
    change("UPDATE evidence_records SET payload = ''::bytea WHERE number = 1")
    with pytest.raises(SystemExit) as ended:
        call_command("evidence_verify")
    assert ended.value.code == 1
    assert (
        "record_changed in the log of acme in local: number 1: the bytes were changed after they were written"
        f" (outcome of job {job_id})" in capsys.readouterr().out
    )
