"""A run's receipt is checked offline, by a script that knows nothing of the plane; what is changed in it is told."""

from __future__ import annotations

import copy
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from apps.evidence import keys, notes
from apps.evidence.logs import Log
from apps.evidence.notes import Checkpoint
from apps.jobs import points
from apps.jobs.lifecycle import Ending
from apps.jobs.operations.control import resubmit
from apps.jobs.types import REGISTRY
from apps.tenancy.context import in_tenant
from tests.integration.conftest import Change, Control
from tests.support.api import Module
from tests.support.offline import SCRIPT, Offline
from tests.support.work import admitted, claimed, finish, submitted, worker

pytestmark = pytest.mark.usefixtures("db", "heads")
FLIPS = 500


@pytest.fixture
def offline(tmp_path: Path) -> Offline:
    made = Offline(tmp_path)
    made.keys.write_text(json.dumps(keys.ring().published()))
    return made


@pytest.fixture
def exported(offline: Offline, done: Callable[..., str], sealed: Callable[[], None]) -> dict[str, Any]:
    """The receipt of a run amid others, written to its file."""
    done()
    job_id = done()
    done("globex")
    sealed()
    done()
    sealed()
    call_command("evidence_export", job_id, "--out", str(offline.receipt))
    receipt: dict[str, Any] = json.loads(offline.receipt.read_text(encoding="utf-8"))
    return receipt


def test_a_receipt_verifies_offline_and_says_what_it_verified(offline: Offline, exported: dict[str, Any]) -> None:
    code, said = offline.verify()
    assert code == 0, said
    lines = said.splitlines()
    assert lines[0].startswith("ok  the checkpoint of operations/local/acme at size 6, root ")
    assert lines[1:3] == ["ok  number 2 (admission): admitted", "ok  number 3 (outcome): succeeded"]
    assert lines[3] == f"verified: {exported['subject']}, complete, 2 records"


def test_the_api_gives_the_same_receipt(offline: Offline, exported: dict[str, Any]) -> None:
    answer = Module("acme").get(f"/operations/jobs/{exported['subject'].removeprefix('job:')}/evidence")
    assert answer.json() == exported


@pytest.mark.parametrize(
    ("path", "value", "wrong"),
    [
        (("subject",), "job:another", "about something else"),
        (("origin",), "operations/local/globex", "no checkpoint of operations/local/globex"),
        (("format",), "operations-receipt/2", "no sealed receipt"),
        (("complete",), False, "not what the receipt says"),
        (("checkpoint",), None, "no sealed receipt"),
        (("records",), [], "or there are none"),
        (("records", 0, "predicate"), "refusal", "of another kind"),
        (("records", 0, "number"), 1, "of another number"),
        (("records", 0, "proof"), None, "not sealed yet"),
        (("records", 0, "envelope"), None, "was erased"),
        (("records", 0, "envelope", "payloadType"), "text/plain", "does not match"),
        (("records", 0, "envelope", "signatures"), [], "no key that was in use"),
        (("records", 1, "envelope", "signatures", 0, "keyid"), "unknown", "no key that was in use"),
    ],
)
def test_what_is_changed_is_told(
    offline: Offline, exported: dict[str, Any], path: tuple[Any, ...], value: Any, wrong: str
) -> None:
    changed = copy.deepcopy(exported)
    place: Any = changed
    for each in path[:-1]:
        place = place[each]
    place[path[-1]] = value
    assert wrong in offline.refused(changed)


def test_no_other_letter_of_anything_passes(offline: Offline, exported: dict[str, Any]) -> None:
    dice = random.Random(20)  # noqa: S311 - a test's choices, to be had again
    texts = [("checkpoint", exported["checkpoint"])]
    for number, record in enumerate(exported["records"]):
        texts += [(f"records/{number}/proof", record["proof"])]
        texts += [(f"records/{number}/envelope/payload", record["envelope"]["payload"])]
        texts += [(f"records/{number}/envelope/signatures/0/sig", record["envelope"]["signatures"][0]["sig"])]
    for _ in range(FLIPS):
        path, text = dice.choice(texts)
        at = dice.randrange(len(text))
        letter = dice.choice([each for each in "aZ09+/" if each != text[at]])
        changed = copy.deepcopy(exported)
        place: Any = changed
        *parents, last = path.split("/")
        for each in parents:
            place = place[int(each)] if each.isdigit() else place[each]
        place[last] = text[:at] + letter + text[at + 1 :]
        assert offline.refused(changed), path


def test_the_process_says_it_by_its_exit_code(offline: Offline, exported: dict[str, Any]) -> None:
    exported["records"][1]["proof"] = exported["records"][1]["proof"].replace("index 3", "index 2")
    offline.write(exported)
    assert offline.verify() == (
        1,
        "ok  the checkpoint of operations/local/acme at size 6, root "
        + notes.decoded(exported["checkpoint"].split("\n")[2]).hex()
        + "\nok  number 2 (admission): admitted\nNOT VERIFIED: number 3 (outcome): the proof is of another number\n",
    )
    offline.receipt.write_text("no JSON")
    code, told = offline.verify()
    assert (code, told.startswith("NOT VERIFIED: JSONDecodeError")) == (1, True), told


def test_records_left_out_or_out_of_order_are_told(offline: Offline, exported: dict[str, Any]) -> None:
    admission, outcome = exported["records"]
    assert "without its admission" in offline.refused({**exported, "records": [outcome]})
    assert "order of the log" in offline.refused({**exported, "records": [outcome, admission]})
    assert "not what the receipt says" in offline.refused({**exported, "records": [admission]})


def test_another_runs_records_and_another_planes_keys_are_told(
    offline: Offline, exported: dict[str, Any], done: Callable[..., str], sealed: Callable[[], None], tmp_path: Path
) -> None:
    other = done()
    sealed()
    call_command("evidence_export", other, "--out", str(offline.receipt))
    theirs = json.loads(offline.receipt.read_text(encoding="utf-8"))
    assert "about something else" in offline.refused({**theirs, "subject": exported["subject"]})
    (tmp_path / "other").mkdir()
    keys.ensure(folder=tmp_path / "other")
    foreign = json.loads((tmp_path / "other" / keys.FILE).read_text())
    offline.keys.write_text(json.dumps(foreign))
    assert "no key that was in use signed the checkpoint" in offline.refused(exported)


def test_a_receipt_of_before_a_rotation_verifies_and_a_retired_key_signs_nothing_new(
    own_keys: Path, offline: Offline, exported: dict[str, Any]
) -> None:
    (old, private), *_ = keys.ring().signing
    keys.begin(sizes={"operations/local/acme": 6})
    keys.retire(old, sizes={"operations/local/acme": 6})
    offline.keys.write_text(json.dumps(keys.ring().published()))
    assert offline.verify()[0] == 0
    origin = exported["origin"]
    forged = notes.signed(Checkpoint(origin=origin, size=7, root=bytes(32)).text(), name=origin, keys=[private])
    assert "no key that was in use signed the checkpoint of size 7" in offline.refused(
        {**exported, "checkpoint": forged}
    )


def test_a_run_that_has_not_ended_and_one_that_was_refused(
    offline: Offline, sealed: Callable[[], None], control: Control
) -> None:
    running, refused = admitted(), submitted("kpi.refresh").job_id
    sealed()
    for job_id, last in ((running, "NOT ended yet"), (refused, "complete")):
        call_command("evidence_export", str(job_id), "--out", str(offline.receipt))
        code, said = offline.verify()
        assert (code, last in said) == (0, True), said
    with pytest.raises(CommandError, match="not ended") as told:
        call_command("evidence_export", str(running), "--wait", "0.1", "--out", str(offline.receipt))
    assert told.value.returncode == 1


def test_a_run_that_was_repeated_has_the_records_of_both(
    offline: Offline, sealed: Callable[[], None], control: Control
) -> None:
    job_id = admitted()
    with control():
        finish(claimed(job_id, worker_id=worker()), Ending.FAILED, permanent=True)
    with in_tenant("acme"):
        resubmit(job_id=job_id, by="somebody", job_type=REGISTRY.get("ops.noop"), points=points.in_force())
    sealed()
    call_command("evidence_export", str(job_id), "--out", str(offline.receipt))
    code, said = offline.verify()
    assert (code, "NOT ended yet, 3 records" in said) == (0, True), said
    with control():
        finish(claimed(job_id, worker_id=worker()), Ending.SUCCEEDED)
    sealed()
    call_command("evidence_export", str(job_id), "--out", str(offline.receipt))
    code, said = offline.verify()
    assert (code, "complete, 4 records" in said) == (0, True), said


def test_what_is_not_sealed_yet_has_no_proof(offline: Offline, done: Callable[..., str]) -> None:
    call_command("evidence_export", done(), "--out", str(offline.receipt))
    receipt = json.loads(offline.receipt.read_text(encoding="utf-8"))
    assert (receipt["complete"], receipt["checkpoint"]) == (False, None)
    assert [record["proof"] for record in receipt["records"]] == [None, None]
    assert "no sealed receipt" in offline.refused(receipt)


def test_a_job_that_is_not_there_is_said(change: Change) -> None:
    for job, wrong in (("nonsense", "an id is"), ("0198f3a2-7b1c-7d3e-8f4a-5b6c7d8e9f00", "there is no job")):
        with pytest.raises(CommandError, match=wrong) as told:
            call_command("evidence_export", job)
        assert told.value.returncode == 2


def test_the_script_needs_nothing_of_the_plane() -> None:
    imported = {
        line.split()[1].split(".")[0]
        for line in SCRIPT.read_text().splitlines()
        if line.startswith(("import ", "from "))
    }
    assert imported - set(sys.stdlib_module_names) == {"cryptography"}
    assert Log("acme", "local").origin == "operations/local/acme"
