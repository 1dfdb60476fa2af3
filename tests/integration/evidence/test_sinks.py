"""The sinks themselves: the built-in one, which is a witness, and a stranger's."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from apps.evidence import batches, cosigning, dsse, keys, receipts
from apps.evidence.heads import Heads
from apps.evidence.logs import Log
from apps.evidence.operations import emit
from apps.tenancy.context import in_tenant
from tests.integration.conftest import Change, Control, Look
from tests.support.emission import emissions, job, outlet
from tests.support.receiver import Receiver, Told, receiving
from tests.support.sink import SinkProcess
from workers.emitter import Emitter
from workers.sink_client import Sink

ACME, GLOBEX = Log("acme", "local"), Log("globex", "local")
Done = Callable[..., str]
Sealed = Callable[[], None]


EmitAll = Callable[[Emitter], None]


class TestTheWitnessRemembers:
    """What the sink cosigned is known without the database, and without what the sealer keeps."""

    def test_a_log_cut_off_together_with_its_heads_is_found(
        self,
        done: Done,
        sealed: Sealed,
        emitter: Emitter,
        emit_all: EmitAll,
        sink: SinkProcess,
        change: Change,
        settings: Any,
        heads: Heads,
    ) -> None:
        done()
        sealed()
        done()
        sealed()
        emit_all(emitter)
        settings.ENVIRONMENT = dataclasses.replace(settings.ENVIRONMENT, sink=sink.folder)
        assert verdict() == []
        for table, cut in (("records", "number >= 2"), ("checkpoints", "size > 2"), ("nodes", "size > 2")):
            change(f"DELETE FROM evidence_{table} WHERE {cut}")
        change("DELETE FROM evidence_emissions; DELETE FROM evidence_outlets")
        shutil.rmtree(heads._folder)
        assert verdict() == ["log_truncated"]

    def test_a_receipt_carries_the_cosignature(
        self, done: Done, sealed: Sealed, emitter: Emitter, emit_all: EmitAll, sink: SinkProcess
    ) -> None:
        job_id = done()
        sealed()
        emit_all(emitter)
        done()
        sealed()  # a newer checkpoint, which nobody cosigned yet
        with in_tenant("acme"):
            made = receipts.receipt(subject_id=job_id, log=ACME, ring=keys.ring())
        assert made["complete"]
        witness = cosigning.Witness.of_word((sink.folder / "witness.key").read_text())
        assert cosigning.seen_at(made["checkpoint"], by=witness)


def verdict() -> list[str]:
    """Return what `evidence_verify` finds, by kind."""
    said = StringIO()
    with contextlib.suppress(SystemExit):
        call_command("evidence_verify", "--json", stdout=said)
    return [each["kind"] for each in json.loads(said.getvalue())["findings"]]


class TestStrangersSink:
    """A sink that is not ours: an envelope and a token out, a ref back."""

    @pytest.fixture
    def stranger(self) -> Iterator[Receiver]:
        with receiving((202, {}, b'{"ref": "vault/17"}')) as receiver:
            yield receiver

    def test_its_ref_is_kept_and_it_is_sent_what_the_contract_says(
        self, done: Done, sealed: Sealed, emit_all: EmitAll, stranger: Receiver, look: Look, tmp_path: Path
    ) -> None:
        done()
        sealed()
        emit_all(Emitter(sink=Sink(url=stranger.url, witness=None, folder=tmp_path)))
        (row,) = look("SELECT ref, note FROM evidence_emissions")
        assert (row["ref"], row["note"]) == ("vault/17", None)
        (sent,) = stranger.told
        assert sent.headers["authorization"].startswith("Bearer ey")
        envelope = json.loads(sent.body)
        assert set(envelope) == {"payloadType", "payload", "signatures"}
        payload, _ = dsse.opened(envelope, keys={key.kid: key.public for key in keys.ring().keys})
        batch = batches.received(payload)
        leaves = [bytes(each["leaf"]) for each in look("SELECT leaf FROM evidence_records ORDER BY number")]
        assert (batch.origin, batch.start, list(batch.leaves)) == (ACME.origin, 0, leaves)

    @pytest.mark.parametrize(
        ("answer", "says"),
        [
            ((503, {"Retry-After": "7"}, b""), "answered with 503"),
            ((429, {}, b""), "answered with 429"),
            ((400, {}, b'{"code": "unknown_tenant"}'), "unknown_tenant"),
            ((302, {"Location": "http://127.0.0.1:1/"}, b""), "answered with 302"),
            ((202, {}, b"{}"), "the answer names no ref of up to 200 characters"),
            ((202, {}, b"not json"), "the answer names no ref of up to 200 characters"),
            ((409, {}, b'{"size": 2, "ref": "x"}'), "answered with 409"),
        ],
    )
    def test_whatever_else_it_says_the_evidence_is_owed(
        self, done: Done, sealed: Sealed, emit_all: EmitAll, look: Look, tmp_path: Path, answer: Any, says: str
    ) -> None:
        job_id = done()
        sealed()
        with receiving(answer) as receiver:
            emit_all(Emitter(sink=Sink(url=receiver.url, witness=None, folder=tmp_path)))
        assert outlet(look)["error"] == says
        assert job(look, job_id)["status"] == "pending_audit"
        assert emissions(look) == []

    def test_a_witness_whose_word_is_forged_is_not_believed(
        self, done: Done, sealed: Sealed, emit_all: EmitAll, look: Look, tmp_path: Path, sink: SinkProcess
    ) -> None:
        done()
        sealed()
        word = (sink.folder / "witness.key").read_text()
        forged = json.dumps({"ref": "x", "checkpoint": "operations/local/acme\n2\nAAAA\n\n— a AAAA\n"}).encode()

        def answer(_: Told) -> tuple[int, dict[str, str], bytes]:
            return 202, {}, forged

        with receiving(answer) as receiver:
            emit_all(Emitter(sink=Sink(url=receiver.url, witness=word, folder=tmp_path)))
        assert outlet(look)["error"].startswith("the witness: operations-witness-")
        assert emissions(look) == []


class TestTheSinkItself:
    """What it is sent by anybody: only what leads on from what it saw is accepted."""

    @pytest.mark.parametrize(
        ("body", "status", "code"),
        [
            (b"{", 400, "bad_json"),
            (b"[]", 422, "bad_envelope"),
            (b"{}", 422, "bad_envelope"),
            (b'{"payload": "e30=", "payloadType": "x", "signatures": []}', 422, "bad_signature"),
            (b'{"payload": 7, "payloadType": "x", "signatures": []}', 422, "bad_envelope"),
        ],
    )
    def test_nonsense_is_refused_with_a_reason(self, sink: SinkProcess, body: bytes, status: int, code: str) -> None:
        answered, told = sink.post(body)
        assert (answered, told["code"]) == (status, code)
        assert told["detail"]

    def test_other_addresses_are_not_there(self, sink: SinkProcess) -> None:
        assert sink.post(b"{}", "elsewhere")[0] == 404
        assert sink.post(b"{}", "checkpoint?origin=../../etc/passwd")[0] == 404

    def test_a_batch_that_a_stranger_signed_is_refused(
        self, sink: SinkProcess, done: Done, sealed: Sealed, control: Control, own_keys: Path
    ) -> None:
        done()
        sealed()  # by keys of the test's own, which the sink does not know
        with control():
            offer = emit.offer(ACME, start=0)
        statement = batches.batch(origin=ACME.origin, root=offer.root, note=offer.note, entries=offer.entries)
        answered, told = sink.post(json.dumps(dsse.envelope(statement, keys=keys.ring().signing)).encode())
        assert (answered, told["code"]) == (422, "bad_signature")

    def test_its_key_outlives_it(self, sink: SinkProcess) -> None:
        before = (sink.folder / "witness.key").read_text()
        sink.stop()
        sink.start()
        assert (sink.folder / "witness.key").read_text() == before
        assert (sink.folder / "witness.private").stat().st_mode & 0o077 == 0
