"""A witness believes what leads on from what it saw, and nothing on its word; its cosignature is C2SP's."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from apps.evidence import batches, cosigning, dsse, merkle, notes
from apps.evidence.batches import BadBatchError, Entry
from apps.evidence.cosigning import Witness
from apps.evidence.ring import KeyRing, LogKey
from apps.evidence.witnessing import NotAcceptedError, OutOfStepError, Seen, accepted, opened
from tests.support import naive_merkle

ORIGIN = "operations/local/acme"
KEY = Ed25519PrivateKey.generate()
LOG_KEY = LogKey(kid="k1", public=KEY.public_key().public_bytes_raw(), private=KEY, begins={}, ends=None)
RING = KeyRing(keys=(LOG_KEY,))
WITNESS_KEY = Ed25519PrivateKey.generate()
WITNESS = Witness(name="w", public=WITNESS_KEY.public_key().public_bytes_raw())
NOTHING = Seen(tree=merkle.Tree())


def entries(payloads: list[bytes], *, start: int = 0) -> list[Entry]:
    made = []
    for number, payload in enumerate(payloads, start):
        salt = os.urandom(16)
        leaf = merkle.leaf_of(payload=payload, salt=salt)
        made.append(Entry(number=number, leaf=leaf, payload=payload, salt=salt))
    return made


def note_over(tree: merkle.Tree) -> str:
    return RING.signed(notes.Checkpoint(origin=ORIGIN, size=tree.size, root=tree.root))


def enveloped(given_entries: list[Entry], *, before: merkle.Tree, note: str | None = None) -> dict[str, Any]:
    tree = before.grown([each.leaf for each in given_entries])
    statement = batches.batch(origin=ORIGIN, root=tree.root, note=note or note_over(tree), entries=given_entries)
    return dsse.envelope(statement, keys=RING.signing)


class TestBatches:
    """A batch says the same to whoever receives it, byte for byte."""

    @given(st.lists(st.text(max_size=40), min_size=1, max_size=20))
    def test_every_leaf_is_computed_from_the_bytes_as_they_were_written(self, texts: list[str]) -> None:
        made = entries([json.dumps({"says": text}).encode() for text in texts])
        batch = opened(enveloped(made, before=merkle.Tree()), ring=RING)
        assert list(batch.leaves) == [each.leaf for each in made]
        assert (batch.origin, batch.start, batch.size) == (ORIGIN, 0, len(texts))

    def test_a_record_without_its_bytes_is_its_leaf(self) -> None:
        (entry,) = entries([b"{}"])
        batch = opened(enveloped([replace(entry, payload=None, salt=None)], before=merkle.Tree()), ring=RING)
        assert list(batch.leaves) == [entry.leaf]

    @pytest.mark.parametrize(
        "change",
        [
            {"predicateType": "https://example.org/other"},
            {"predicate": {"start": 0, "checkpoint": "x", "records": []}},
            {"predicate": {"start": -1, "checkpoint": "x", "records": [{"leaf": "00" * 32}]}},
            {"predicate": {"start": True, "checkpoint": "x", "records": [{"leaf": "00" * 32}]}},
            {"predicate": {"start": 0, "checkpoint": 7, "records": [{"leaf": "00" * 32}]}},
            {"predicate": {"start": 0, "checkpoint": "x", "records": [{"leaf": "00"}]}},
            {"predicate": {"start": 0, "checkpoint": "x", "records": [{"payload": "{}", "salt": "?"}]}},
            {"predicate": {"start": 0, "checkpoint": "x", "records": [{"payload": 7, "salt": ""}]}},
            {"subject": []},
        ],
        ids=range(9),
    )
    def test_what_is_none_is_refused(self, change: dict[str, Any]) -> None:
        tree = merkle.Tree().grown([bytes(32)])
        good = json.loads(batches.batch(origin=ORIGIN, root=tree.root, note="x", entries=entries([b"{}"])))
        with pytest.raises((BadBatchError, notes.BadNoteError)):
            batches.received(json.dumps({**good, **change}).encode())


class TestBelieving:
    """Accepted is what continues the tree that the witness has, under the log's own signature."""

    @given(st.lists(st.integers(1, 7), min_size=1, max_size=12))
    def test_a_log_that_grows_in_any_steps_is_followed_to_the_root_that_an_independent_tree_has(
        self, steps: list[int]
    ) -> None:
        seen, all_leaves = NOTHING, []
        for count in steps:
            made = entries([b"{}"] * count, start=seen.tree.size)
            batch = opened(enveloped(made, before=seen.tree), ring=RING)
            seen = Seen(tree=accepted(batch, seen=seen, ring=RING).tree)
            all_leaves += [each.leaf for each in made]
        assert seen.tree.size == len(all_leaves)
        assert seen.tree.root == _naive(all_leaves)

    def test_a_changed_byte_leads_elsewhere(self) -> None:
        made = entries([b'{"outcome": "failed"}', b"{}"])
        note = note_over(merkle.Tree().grown([each.leaf for each in made]))
        forged = [replace(made[0], payload=b'{"outcome": "succeeded"}'), made[1]]
        with pytest.raises(NotAcceptedError) as refused:
            accepted(opened(enveloped(forged, before=merkle.Tree(), note=note), ring=RING), seen=NOTHING, ring=RING)
        assert refused.value.code == "inconsistent"

    def test_another_history_under_the_logs_own_key_is_not_believed(self) -> None:
        first = accepted(
            opened(enveloped(entries([b"{}"]), before=merkle.Tree()), ring=RING), seen=NOTHING, ring=RING
        ).tree
        other = merkle.Tree().grown([bytes(32)])
        document = enveloped(entries([b"{}"], start=1), before=other)
        with pytest.raises(NotAcceptedError) as refused:
            accepted(opened(document, ring=RING), seen=Seen(tree=first), ring=RING)
        assert refused.value.code == "inconsistent"

    @pytest.mark.parametrize("start", [0, 2])
    def test_a_batch_that_begins_elsewhere_is_out_of_step(self, start: int) -> None:
        seen = Seen(tree=merkle.Tree().grown([bytes(32)]))
        document = enveloped(entries([b"{}"], start=start), before=merkle.Tree().grown([bytes(32)] * start))
        with pytest.raises(OutOfStepError):
            accepted(opened(document, ring=RING), seen=seen, ring=RING)

    def test_a_checkpoint_of_another_size_is_refused(self) -> None:
        made = entries([b"{}", b"{}"])
        note = note_over(merkle.Tree().grown([made[0].leaf]))
        with pytest.raises(NotAcceptedError) as refused:
            accepted(opened(enveloped(made, before=merkle.Tree(), note=note), ring=RING), seen=NOTHING, ring=RING)
        assert refused.value.code == "bad_checkpoint"

    def test_a_key_that_was_retired_signs_nothing_more(self) -> None:
        retired = KeyRing(keys=(replace(LOG_KEY, ends={ORIGIN: 1}),))
        with pytest.raises(NotAcceptedError) as refused:
            opened(enveloped(entries([b"{}", b"{}"]), before=merkle.Tree()), ring=retired)
        assert refused.value.code == "bad_signature"

    def test_an_envelope_that_nobody_known_signed_is_refused(self) -> None:
        document = enveloped(entries([b"{}"]), before=merkle.Tree())
        with pytest.raises(NotAcceptedError) as refused:
            opened({**document, "signatures": []}, ring=RING)
        assert refused.value.code == "bad_signature"


class TestCosigning:
    """cosignature/v1: the time and the text, under the witness's own key."""

    note = note_over(merkle.Tree().grown([bytes(32)]))

    def test_says_when_and_leaves_the_logs_own_signature_alone(self) -> None:
        made = cosigning.cosigned(self.note, by=WITNESS, key=WITNESS_KEY, seconds=1_764_000_000)
        assert cosigning.seen_at(made, by=WITNESS) == 1_764_000_000
        assert RING.opened(made, origin=ORIGIN).size == 1

    def test_is_written_as_the_specification_says(self) -> None:
        made = cosigning.cosigned(self.note, by=WITNESS, key=WITNESS_KEY, seconds=7)
        text, lines = notes.signatures(made)
        name, identity, signature = lines[-1]
        assert (name, signature[:8]) == ("w", (7).to_bytes(8, "big"))
        assert identity == hashlib.sha256(b"w\n\x04" + WITNESS.public).digest()[:4]
        WITNESS_KEY.public_key().verify(signature[8:], b"cosignature/v1\ntime 7\n" + text.encode())

    def test_another_time_or_text_is_found_out(self) -> None:
        made = cosigning.cosigned(self.note, by=WITNESS, key=WITNESS_KEY, seconds=7)
        _, lines = notes.signatures(made)
        later = notes.encoded(WITNESS.key_id + (8).to_bytes(8, "big") + lines[-1][2][8:])
        with pytest.raises(notes.BadNoteError):
            cosigning.seen_at(f"{self.note}— w {later}\n", by=WITNESS)
        with pytest.raises(notes.BadNoteError):
            cosigning.seen_at(made.replace("\n1\n", "\n2\n"), by=WITNESS)

    def test_a_note_without_it_is_not_cosigned(self) -> None:
        with pytest.raises(notes.BadNoteError, match="has not cosigned"):
            cosigning.seen_at(self.note, by=WITNESS)

    def test_the_public_key_is_one_word(self) -> None:
        assert Witness.of_word(WITNESS.word()) == WITNESS

    @pytest.mark.parametrize(
        "word",
        ["", "w", "w+00000000+AAAA", WITNESS.word()[:-4], WITNESS.word().replace("w+", "v+", 1)],
        ids=["nothing", "a name", "no key", "half a key", "another's name"],
    )
    def test_another_word_is_none(self, word: str) -> None:
        with pytest.raises(notes.BadNoteError):
            Witness.of_word(word)


def _naive(hashes: list[bytes]) -> bytes:
    if len(hashes) == 1:
        return hashes[0]
    middle = naive_merkle.split_at(len(hashes))
    return hashlib.sha256(b"\x01" + _naive(hashes[:middle]) + _naive(hashes[middle:])).digest()
