"""Emission against a bad line, a sink that forgets, keys that retire, hands that meddle: nothing is stuck or lost."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import transaction

from apps.evidence import batches, dsse, keys, merkle, notes
from apps.evidence.batches import Entry
from apps.evidence.logs import Log
from apps.evidence.operations import emit, rotate
from apps.evidence.pacing import LOG_PAUSE_S
from apps.evidence.witnessing import Seen
from apps.jobs import overview
from apps.jobs.lifecycle import Ending, State
from apps.tenancy.context import operator_reading
from apps.tenancy.keys import ensure_keys
from tests.integration.conftest import Change, Control, Look
from tests.support.emission import emissions, job, outlet, told
from tests.support.receiver import Receiver, Told, receiving
from tests.support.sink import SinkProcess
from tests.support.work import admitted, claimed, finish, submitted, worker
from workers.emitter import Emitter
from workers.sink import Sink as BuiltIn
from workers.sink import Store, made
from workers.sink_client import Sink

ACME = Log("acme", "local")
Answer = tuple[int, dict[str, str], bytes]
AWAY: Answer = (503, {}, b"")
Done = Callable[..., str]
Sealed = Callable[[], None]
EmitAll = Callable[[Emitter], None]


def batch_in(request: Told) -> batches.Batch:
    """Return the batch that the sink was sent."""
    payload, _ = dsse.opened(json.loads(request.body), keys={each.kid: each.public for each in keys.ring().keys})
    return batches.received(payload)


def judged(witness: BuiltIn, request: Told) -> Answer:
    """Return what the built-in sink says to what was sent."""
    status, says = witness._judged(request.body)
    return status, {}, json.dumps(says).encode()


@contextmanager
def emitting(answer: Any, *, witness: str | None = None, folder: Path) -> Iterator[tuple[Emitter, Receiver]]:
    """Run a sink that answers so; yield an emitter that knows no other, and the sink."""
    with receiving(answer) as receiver:
        yield Emitter(sink=Sink(url=receiver.url, witness=witness, folder=folder)), receiver


@pytest.fixture
def witness(db: None, tmp_path: Path) -> BuiltIn:
    """The built-in sink, in this process: what a test puts between it and the emitter is the line."""
    return made(folder=tmp_path / "witness", published=Path(settings.ENVIRONMENT.keys) / keys.PUBLIC_FILE)


class TestTheOthersGoOn:
    """What fails is one log's own, as far as anybody can tell."""

    def test_a_log_accepted_in_the_step_in_which_another_was_not_owes_nothing(
        self, done: Done, sealed: Sealed, emit_all: EmitAll, control: Control, look: Look, tmp_path: Path
    ) -> None:
        mine, other = done(), done("globex")
        sealed()

        def answer(request: Told) -> Answer:
            return AWAY if "globex" in batch_in(request).origin else (202, {}, b'{"ref": "a"}')

        with emitting(answer, folder=tmp_path) as (emitter, receiver):
            with control():
                emitter.step()
            assert (job(look, mine)["status"], outlet(look)["failing_since"]) == ("succeeded", None)
            assert job(look, other)["status"] == "pending_audit"
            assert told(look, mine) == ["submitted", "completed"]
            receiver.answer = (202, {}, b'{"ref": "a"}')
            self.let_it_be_due(emitter, control)
            emit_all(emitter)
        assert [job(look, each)["status"] for each in (mine, other)] == ["succeeded", "succeeded"]

    def test_a_log_without_an_answer_pauses_alone_while_the_others_are_answered(
        self, done: Done, sealed: Sealed, control: Control, look: Look, tmp_path: Path
    ) -> None:
        done("globex")
        done()
        sealed()

        def answer(request: Told) -> Answer:
            return AWAY if "globex" in batch_in(request).origin else (202, {}, b'{"ref": "a"}')

        with emitting(answer, folder=tmp_path) as (emitter, _):
            with control():
                emitter.step()
            later = done()
            sealed()
            with control():
                emitter.step()
        assert job(look, later)["status"] == "succeeded"
        assert emissions(look) == [(0, 2), (2, 4)], "nobody waited for the log that has trouble"

    def test_an_outage_is_no_refusal_and_leaves_a_refused_log_its_patience(
        self, done: Done, sealed: Sealed, emit_all: EmitAll, look: Look, tmp_path: Path
    ) -> None:
        done()
        sealed()
        with emitting(AWAY, folder=tmp_path) as (emitter, receiver):
            for _ in range(5):
                emit_all(emitter)
            receiver.answer = (400, {}, b'{"code": "no"}')
            emit_all(emitter)
        (pause,) = look("SELECT extract(epoch FROM due_at - clock_timestamp())::float AS s FROM evidence_outlets")
        assert pause["s"] <= LOG_PAUSE_S[0], "the first no after an outage is the first"

    def test_bytes_that_are_no_text_any_more_stop_their_own_log_alone(
        self, done: Done, sealed: Sealed, emitter: Emitter, emit_all: EmitAll, look: Look, change: Change
    ) -> None:
        done()
        done("globex")
        sealed()
        change(r"UPDATE evidence_records SET payload = '\xff' WHERE number = 0 AND tenant_id = 'acme'")
        emit_all(emitter)
        assert outlet(look)["error"] == "the bytes of record 0 are not what was written"
        assert emissions(look, "globex") == [(0, 2)]

    @staticmethod
    def let_it_be_due(emitter: Emitter, control: Control) -> None:
        with control():
            emit.note_failed(emitter._standings(), error="", pause_s=0.0)


class TestWhoIsBelieved:
    """The sink's word is about what it was sent, or where the log once was, and about nothing else."""

    def test_a_cosigned_checkpoint_of_another_time_is_no_receipt(
        self, done: Done, sealed: Sealed, emit_all: EmitAll, look: Look, witness: BuiltIn, tmp_path: Path
    ) -> None:
        done()
        sealed()
        kept: list[Answer] = []

        def answer(request: Told) -> Answer:
            kept.append(kept[0] if kept else judged(witness, request))
            return kept[0]

        with emitting(answer, witness=witness.witness.word(), folder=tmp_path) as (emitter, _):
            emit_all(emitter)
            later = done()
            sealed()
            emit_all(emitter)
        assert emissions(look) == [(0, 2)]
        assert outlet(look)["error"] == "the witness cosigned another checkpoint than it was sent"
        assert job(look, later)["status"] == "pending_audit"

    def test_a_sink_that_forgot_and_whose_answer_is_lost_catches_up(
        self,
        done: Done,
        sealed: Sealed,
        emit_all: EmitAll,
        look: Look,
        witness: BuiltIn,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(emit, "MOST_RECORDS", 2)
        lost: set[int] = set()

        def answer(request: Told) -> Answer:
            says = judged(witness, request)
            if batch_in(request).start in lost:
                lost.clear()
                return AWAY
            return says

        with emitting(answer, witness=witness.witness.word(), folder=tmp_path) as (emitter, _):
            for _ in range(3):
                done()
                sealed()
            emit_all(emitter)
            for path in (tmp_path / "witness" / "logs").glob("*/*"):
                path.unlink()
            done()
            sealed()
            lost.add(0)
            emit_all(emitter)
            emit_all(emitter)
        assert emissions(look) == [(0, 2), (2, 4), (4, 6), (6, 8)]
        assert outlet(look)["failing_since"] is None
        assert witness._store.seen(ACME).tree.size == 8

    def test_a_backlog_under_a_key_that_retired_while_the_sink_was_away_is_accepted(
        self,
        own_keys: Path,
        done: Done,
        sealed: Sealed,
        emit_all: EmitAll,
        control: Control,
        look: Look,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(emit, "MOST_RECORDS", 2)
        ensure_keys(folder=own_keys)  # for the tokens
        for _ in range(3):
            done()
            sealed()
        with control(), transaction.atomic():
            (old,) = [kid for kid, _ in keys.ring().signing]
            rotate.begin()
            rotate.retire(kid=old)
        done()
        sealed()
        witness = made(folder=tmp_path / "witness", published=own_keys / keys.PUBLIC_FILE)
        sent = lambda request: judged(witness, request)  # noqa: E731
        with emitting(sent, witness=witness.witness.word(), folder=tmp_path) as (emitter, _):
            emit_all(emitter)
        assert emissions(look) == [(0, 2), (2, 4), (4, 6), (6, 8)]


class TestWhatIsLookedAt:
    """No log is overlooked, and no job told wrongly, by whoever leads."""

    def test_a_log_whose_checkpoint_has_a_smaller_id_is_found_in_the_next_look_at_all(
        self, done: Done, sealed: Sealed, emitter: Emitter, emit_all: EmitAll, look: Look, change: Change
    ) -> None:
        done()
        sealed()
        emit_all(emitter)
        change("UPDATE evidence_checkpoints SET checkpoint_id = 'ffffffff-ffff-8fff-bfff-ffffffffffff'")
        emit_all(emitter)
        done()
        sealed()
        emitter._all_again_at = 0.0
        emit_all(emitter)
        assert emissions(look) == [(0, 2), (2, 4)]

    def test_an_emitter_that_was_overtaken_lets_no_job_owe_what_was_accepted(
        self, done: Done, sealed: Sealed, emitter: Emitter, emit_all: EmitAll, look: Look, control: Control
    ) -> None:
        job_id = done()
        sealed()
        with control():
            before = emit.standing([ACME])
        emit_all(emitter)
        with control():
            emitter._failed(before, error="it was away for me", pause_s=0.0)
        assert job(look, job_id)["status"] == "succeeded"


class TestWhoReadsTheStatus:
    """What a job ended as is counted and shown, whatever became of its evidence."""

    def test_a_refused_job_that_owes_its_evidence_is_not_counted_into_the_day(
        self, sealed: Sealed, emitter: Emitter, emit_all: EmitAll, sink: SinkProcess, change: Change, look: Look
    ) -> None:
        change("UPDATE plans SET jobs_per_day = 2")
        refused = [submitted("kpi.refresh") for _ in range(4)]
        sink.stop()
        sealed()
        emit_all(emitter)
        owing = [job(look, str(each.job_id))["status"] for each in refused]
        assert sorted(owing) == ["pending_audit", "rejected", "rejected", "rejected"], "one record stands for all"
        assert [submitted().status for _ in range(3)] == [State.QUEUED, State.QUEUED, State.REJECTED]

    def test_the_operators_page_shows_a_failed_job_that_owes_its_evidence(
        self, sealed: Sealed, emitter: Emitter, emit_all: EmitAll, sink: SinkProcess, control: Control
    ) -> None:
        job_id = admitted()
        with control():
            finish(claimed(job_id, worker_id=worker()), Ending.FAILED, permanent=True)
        sink.stop()
        sealed()
        emit_all(emitter)
        with operator_reading():
            assert [(each.job_id, each.outcome) for each in overview.failures_lately(limit=5)] == [(job_id, "failed")]


class TestTheSinksFolder:
    """One history, inside one folder."""

    def test_of_two_sinks_on_one_folder_one_alone_cosigns(self, tmp_path: Path) -> None:
        (tmp_path / "keys").mkdir()
        keys.ensure(folder=tmp_path / "keys")
        public = tmp_path / "keys" / keys.PUBLIC_FILE
        ring = keys._parse(tmp_path / "keys" / keys.FILE)
        sinks = [made(folder=tmp_path / "sink", published=public) for _ in range(2)]
        for start in range(40):
            before = sinks[0]._store.seen(ACME).tree
            said: list[int] = []
            forks = [self.envelope(bytes([fork]), before=before, ring=ring) for fork in range(2)]
            gate = threading.Barrier(2)

            def offer(sink: BuiltIn, body: bytes, gate: threading.Barrier = gate, said: list[int] = said) -> None:
                gate.wait()
                said.append(sink._judged(body)[0])

            threads = [threading.Thread(target=offer, args=each) for each in zip(sinks, forks, strict=True)]
            for each in threads:
                each.start()
            for each in threads:
                each.join()
            assert sorted(said) == [202, 409], f"at {start} two histories were cosigned"

    def test_no_name_of_a_log_leads_out_of_it(self, tmp_path: Path) -> None:
        store = Store(tmp_path / "sink")
        log = Log.named("operations/%2E%2E/witness")
        with store.held(log):
            store.keep(log, Seen(tree=merkle.Tree()), line={})
        assert {path.parent.parent for path in (tmp_path / "sink").rglob("witness*")} == {tmp_path / "sink" / "logs"}

    @staticmethod
    def envelope(payload: bytes, *, before: merkle.Tree, ring: Any) -> bytes:
        entry = Entry(number=before.size, leaf=merkle.leaf_of(payload=payload, salt=b""), payload=payload, salt=b"")
        tree = before.grown([entry.leaf])
        note = ring.signed(notes.Checkpoint(origin=ACME.origin, size=tree.size, root=tree.root))
        statement = batches.batch(origin=ACME.origin, root=tree.root, note=note, entries=[replace(entry)])
        return json.dumps(dsse.envelope(statement, keys=ring.signing)).encode()
