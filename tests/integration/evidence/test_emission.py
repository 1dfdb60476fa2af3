"""Sealed evidence reaches the sink in order, whatever fails; until it does, jobs and submissions say so."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import transaction

from apps.evidence import cosigning, keys, notes
from apps.evidence.logs import Log
from apps.evidence.operations import emit
from apps.evidence.queries import states_of
from apps.jobs import points
from apps.jobs.lifecycle import Ending
from apps.jobs.operations import control as asked
from apps.jobs.types import REGISTRY
from apps.tenancy.context import in_tenant
from tests.integration.conftest import Change, Control, Look
from tests.support.emission import emissions, job, outlet, told
from tests.support.sink import SinkProcess
from tests.support.work import admitted, claimed, finish, submitted, worker
from workers.emitter import Emitter
from workers.sink_client import Sink

ACME, GLOBEX = Log("acme", "local"), Log("globex", "local")
Done = Callable[..., str]
Sealed = Callable[[], None]


EmitAll = Callable[[Emitter], None]


class TestAccepted:
    """What is sealed is offered once, and the sink's word is kept."""

    def test_every_log_reaches_the_sink_and_is_cosigned(
        self, done: Done, sealed: Sealed, emitter: Emitter, emit_all: EmitAll, sink: SinkProcess, look: Look
    ) -> None:
        job_id = done()
        done("globex")
        sealed()
        emit_all(emitter)
        witness = cosigning.Witness.of_word((sink.folder / "witness.key").read_text())
        for tenant, log in (("acme", ACME), ("globex", GLOBEX)):
            assert emissions(look, tenant) == [(0, 2)]
            (row,) = look("SELECT note, ref FROM evidence_emissions WHERE tenant_id = %s", tenant)
            cosigning.seen_at(row["note"], by=witness)
            assert keys.ring().opened(row["note"], origin=log.origin).size == 2, "the log's own signature stands"
            assert sink.checkpoint(log.origin) == row["note"]
        with in_tenant("acme"):
            (state,) = states_of([job(look, job_id)["evidence_id"]]).values()
        assert state[0] == "emitted"
        assert str(state[1]).startswith("operations-witness-")
        assert job(look, job_id)["status"] == "succeeded"
        assert told(look, job_id) == ["submitted", "completed"], "nobody hears of what went well"

    def test_what_was_sealed_in_several_steps_goes_in_one_batch(
        self, done: Done, sealed: Sealed, emitter: Emitter, emit_all: EmitAll, look: Look
    ) -> None:
        for _ in range(3):
            done()
            sealed()
        emit_all(emitter)
        assert emissions(look) == [(0, 6)]
        done()
        sealed()
        emit_all(emitter)
        assert emissions(look) == [(0, 6), (6, 8)]

    def test_a_long_log_goes_in_batches_that_end_at_checkpoints(
        self,
        done: Done,
        sealed: Sealed,
        emitter: Emitter,
        emit_all: EmitAll,
        look: Look,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(emit, "MOST_RECORDS", 3)
        for _ in range(4):
            done()
            sealed()
        emit_all(emitter)
        assert emissions(look) == [(0, 2), (2, 4), (4, 6), (6, 8)]

    def test_a_log_goes_on_past_what_a_small_number_holds(self, db: None, control: Control) -> None:
        for start in (2**15 - 1000, 2**31 - 1000):  # the driver gives a number the smallest type that it fits into
            with control(), pytest.raises(emit.RecordsMissingError, match=f"no checkpoint was signed beyond {start}"):
                emit.offer(ACME, start=start)

    def test_an_emitter_that_starts_finds_what_an_earlier_one_left(
        self, done: Done, sealed: Sealed, emitter: Emitter, emit_all: EmitAll, look: Look, sink: SinkProcess
    ) -> None:
        done()
        sealed()
        emit_all(emitter)
        done()
        done("globex")
        sealed()
        emit_all(Emitter(sink=Sink(url=None, witness=None, folder=sink.folder)))
        assert emissions(look) == [(0, 2), (2, 4)]
        assert emissions(look, "globex") == [(0, 2)]

    def test_a_record_whose_bytes_were_erased_goes_as_its_leaf(
        self, done: Done, sealed: Sealed, emitter: Emitter, emit_all: EmitAll, look: Look, change: Change
    ) -> None:
        done()
        sealed()
        change("UPDATE evidence_records SET payload = NULL, salt = NULL WHERE number = 0")
        emit_all(emitter)
        assert emissions(look) == [(0, 2)]

    def test_what_was_accepted_and_not_noted_is_found_out_and_not_sent_twice(
        self, done: Done, sealed: Sealed, emitter: Emitter, emit_all: EmitAll, look: Look, control: Control
    ) -> None:
        done()
        sealed()
        with control(), transaction.atomic():
            emitter.step()
            transaction.set_rollback(True)  # the emitter dies before its note is committed
        assert emissions(look) == []
        done()
        sealed()
        emit_all(emitter)
        assert emissions(look) == [(0, 2), (2, 4)]
        assert outlet(look)["emitted"] == 4


class TestNotAccepted:
    """A sink that is away or refuses: jobs read `pending_audit`, nothing is lost, and it is tried again."""

    def test_jobs_owe_their_evidence_until_the_sink_is_back(
        self, done: Done, sealed: Sealed, emitter: Emitter, emit_all: EmitAll, look: Look, sink: SinkProcess
    ) -> None:
        sink.stop()
        job_id = done()
        sealed()
        emit_all(emitter)
        owing = job(look, job_id)
        assert (owing["status"], owing["outcome"]) == ("pending_audit", "succeeded")
        assert outlet(look)["error"] == "the built-in sink does not run" or "Error" in outlet(look)["error"]
        later = done()
        sealed()
        emit_all(emitter)
        assert job(look, later)["status"] == "pending_audit", "what ends meanwhile stands behind it"
        sink.start()
        emit_all(emitter)
        for each in (job_id, later):
            assert job(look, each)["status"] == "succeeded"
            assert told(look, each) == ["submitted", "completed", "pending_audit", "audited"]
        assert outlet(look)["failing_since"] is None
        failing = look("SELECT type, data FROM events WHERE type LIKE 'operations.evidence.%%' ORDER BY occurred_at")
        assert [row["type"].rpartition(".")[2] for row in failing] == ["emission_failing", "emission_resumed"]

    def test_a_failed_job_can_be_tried_again_while_its_evidence_is_owed(
        self, sealed: Sealed, emitter: Emitter, emit_all: EmitAll, look: Look, sink: SinkProcess, control: Control
    ) -> None:
        job_id = admitted()
        with control():
            finish(claimed(job_id, worker_id=worker()), Ending.FAILED, permanent=True)
        sink.stop()
        sealed()
        emit_all(emitter)
        assert job(look, str(job_id))["status"] == "pending_audit"
        with in_tenant("acme"):
            asked.resubmit(job_id=job_id, by="console", job_type=REGISTRY.get("ops.noop"), points=points.in_force())
        assert job(look, str(job_id))["status"] == "queued"
        sink.start()
        emit_all(emitter)
        assert job(look, str(job_id))["status"] == "queued", "what was begun anew is not moved by its past"

    def test_a_rejected_job_owes_its_refusal(
        self, sealed: Sealed, emitter: Emitter, emit_all: EmitAll, look: Look, sink: SinkProcess, change: Change
    ) -> None:
        change("UPDATE plans SET backlog_cap = 0")
        refused = submitted()
        sink.stop()
        sealed()
        emit_all(emitter)
        assert job(look, str(refused.job_id))["status"] == "pending_audit"
        sink.start()
        emit_all(emitter)
        assert job(look, str(refused.job_id))["status"] == "rejected"

    def test_a_sink_that_lost_its_memory_gets_the_log_again(
        self, done: Done, sealed: Sealed, emitter: Emitter, emit_all: EmitAll, look: Look, sink: SinkProcess
    ) -> None:
        done()
        sealed()
        emit_all(emitter)
        sink.forget()
        done()
        sealed()
        emit_all(emitter)
        assert outlet(look)["emitted"] == 4
        assert notes.parsed(notes.signatures(sink.checkpoint(ACME.origin))[0]).size == 4

    def test_a_log_with_another_history_is_refused_and_the_others_go_on(
        self, done: Done, sealed: Sealed, emitter: Emitter, emit_all: EmitAll, look: Look, change: Change
    ) -> None:
        done()
        sealed()
        job_id = done()
        other = done("globex")
        sealed()
        change("UPDATE evidence_records SET payload = '{}' WHERE number = 2 AND tenant_id = 'acme'")
        emit_all(emitter)
        assert emissions(look) == []
        assert outlet(look)["error"] == "inconsistent"
        assert job(look, job_id)["status"] == "pending_audit"
        assert emissions(look, "globex") == [(0, 2)]
        assert job(look, other)["status"] == "succeeded"

    def test_a_log_that_was_cut_off_behind_the_sink_is_refused(
        self, done: Done, sealed: Sealed, emitter: Emitter, emit_all: EmitAll, look: Look, change: Change
    ) -> None:
        done()
        sealed()
        done()
        sealed()
        emit_all(emitter)
        for table, cut in (("records", "number >= 2"), ("checkpoints", "size > 2"), ("nodes", "size > 2")):
            change(f"DELETE FROM evidence_{table} WHERE {cut}")
        change("DELETE FROM evidence_emissions; DELETE FROM evidence_outlets")
        emit_all(Emitter(sink=emitter._sink))
        assert outlet(look)["error"] == "the sink saw another history of this log"

    def test_records_that_are_gone_are_told(
        self, done: Done, sealed: Sealed, emitter: Emitter, emit_all: EmitAll, look: Look, change: Change
    ) -> None:
        done()
        sealed()
        change("DELETE FROM evidence_records WHERE number = 0")
        emit_all(emitter)
        assert outlet(look)["error"] == "of the records 0 to 1 some are not there"


class TestAuditDebt:
    """Over its budget a tenant's submissions are refused, and nobody else's; what is only on its way is no debt."""

    def test_over_budget_is_refused_until_the_sink_accepts(
        self,
        done: Done,
        sealed: Sealed,
        emitter: Emitter,
        emit_all: EmitAll,
        sink: SinkProcess,
        change: Change,
    ) -> None:
        change("UPDATE plans SET audit_debt = 2")
        done()
        done()
        sealed()
        assert submitted().refusal is None, "nothing was refused by the sink yet"
        sink.stop()
        emit_all(emitter)
        refusal = submitted().refusal
        assert refusal is not None
        assert (refusal.code, refusal.point, refusal.retry_after_s) == ("audit_debt", "subscription", 30)
        assert "4 evidence records" in refusal.reason
        assert submitted(tenant="globex").refusal is None
        sink.start()
        emit_all(emitter)
        assert submitted().refusal is None
