"""Notes, checkpoints and envelopes read as their specifications write them, and only who signed is believed."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from apps.evidence import dsse, notes
from apps.evidence.notes import BadNoteError, Checkpoint

# The example of Go's golang.org/x/mod/sumdb/note, where the format comes from.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETERS_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETERS_NOTE = (
    PETERS_TEXT
    + "\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)

ORIGIN = "operations/local/acme"
KEY, OTHER, STRANGER = (Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2, 3))


def known(*keys: Ed25519PrivateKey, name: str = ORIGIN) -> dict[bytes, bytes]:
    publics = [key.public_key().public_bytes_raw() for key in keys]
    return {notes.key_id(name=name, public=public): public for public in publics}


def checkpoint(**changes: object) -> Checkpoint:
    values: dict[str, object] = {"origin": ORIGIN, "size": 7, "root": bytes(range(32)), **changes}
    return Checkpoint(**values)  # type: ignore[arg-type]


class TestNotes:
    """Text, and lines of signatures below."""

    def test_the_example_of_the_format_is_read_and_its_key_named_alike(self) -> None:
        name, identity, key = PETER.split("+", 2)
        public = base64.b64decode(key)[1:]
        assert notes.verifier_key(name=name, public=public) == PETER
        text, by = notes.opened(PETERS_NOTE, name=name, keys={bytes.fromhex(identity): public})
        assert (text, by) == (PETERS_TEXT, {bytes.fromhex(identity)})

    def test_either_key_of_an_overlap_opens_what_both_signed(self) -> None:
        note = notes.signed("text\n", name=ORIGIN, keys=[KEY, OTHER])
        for key in (KEY, OTHER):
            assert notes.opened(note, name=ORIGIN, keys=known(key)) == ("text\n", set(known(key)))
        assert notes.opened(note, name=ORIGIN, keys=known(KEY, OTHER))[1] == set(known(KEY, OTHER))

    def test_lines_of_strangers_are_passed_over(self) -> None:
        note = (
            notes.signed("text\n", name=ORIGIN, keys=[KEY]) + "— witness.example/w1 " + notes.encoded(b"x" * 80) + "\n"
        )
        assert notes.opened(note, name=ORIGIN, keys=known(KEY))[0] == "text\n"

    @pytest.mark.parametrize(
        ("note", "wrong"),
        [
            ("text\n", "no signature"),
            ("text\n\n", "no signature"),
            ("text\n\nno line\n", "line among the signatures"),
            ("text\n\n— name\n", "line among the signatures"),
            ("text\n\n— name not*base64\n", "line among the signatures"),
            ("text\n\n— name QR==\n", "canonical"),
            ("text\tmore\n\n— name QQ==\n", "control characters"),
            ("text\n\n" + "— name QQ==\n" * 33, "too many"),
        ],
    )
    def test_what_is_no_note_is_named(self, note: str, wrong: str) -> None:
        with pytest.raises(BadNoteError, match=wrong):
            notes.opened(note, name="name", keys={})

    def test_a_changed_text_another_name_and_a_strangers_signature_are_refused(self) -> None:
        note = notes.signed("text\n", name=ORIGIN, keys=[KEY])
        with pytest.raises(BadNoteError, match="does not match the text"):
            notes.opened("T" + note[1:], name=ORIGIN, keys=known(KEY))
        with pytest.raises(BadNoteError, match="no known key"):
            notes.opened(note, name="operations/local/globex", keys=known(KEY, name="operations/local/globex"))
        with pytest.raises(BadNoteError, match="no known key"):
            notes.opened(notes.signed("text\n", name=ORIGIN, keys=[STRANGER]), name=ORIGIN, keys=known(KEY))

    def test_one_wrong_line_of_a_known_key_spoils_the_note(self) -> None:
        right = notes.signed("text\n", name=ORIGIN, keys=[KEY])
        _, identity, _ = notes.signatures(notes.signed("text\n", name=ORIGIN, keys=[OTHER]))[1][0]
        spoiled = right + f"— {ORIGIN} {notes.encoded(identity + bytes(64))}\n"
        assert notes.opened(spoiled, name=ORIGIN, keys=known(KEY))[0] == "text\n"
        with pytest.raises(BadNoteError, match="does not match the text"):
            notes.opened(spoiled, name=ORIGIN, keys=known(KEY, OTHER))


class TestCheckpoints:
    """Three lines and two of our own."""

    def test_read_as_the_specification_writes_them(self) -> None:
        text = checkpoint().text()
        assert text == f"{ORIGIN}\n7\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
        assert notes.parsed(text) == checkpoint()

    def test_keep_their_time_and_columns_and_pass_over_what_they_do_not_know(self) -> None:
        whole = checkpoint(sealed_at="2026-11-26T05:40:00+00:00", columns=b"c" * 32)
        assert notes.parsed(whole.text()) == whole
        assert notes.parsed(whole.text() + "unknown extension\nword\n") == whole

    @pytest.mark.parametrize(
        "text",
        [
            "origin\n7\n",
            "origin\n07\n" + notes.encoded(bytes(32)) + "\n",
            "origin\n-1\n" + notes.encoded(bytes(32)) + "\n",
            "origin\n7\n" + notes.encoded(bytes(31)) + "\n",
            "origin\n7\nno base64\n",
            "origin\n7\n" + notes.encoded(bytes(32)) + "\n\nmore\n",
            "origin\n7\n" + notes.encoded(bytes(32)),
        ],
    )
    def test_what_is_none_is_refused(self, text: str) -> None:
        with pytest.raises(BadNoteError):
            notes.parsed(text)

    def test_origins_are_one_word_whatever_a_region_is_called(self) -> None:
        assert notes.origin_of(region="local", tenant_id="acme") == ORIGIN
        assert notes.origin_of(region="eu +west/1", tenant_id="acme") == "operations/eu%20%2Bwest%2F1/acme"


class TestEnvelopes:
    """Type and payload, signed as they are."""

    def test_what_is_signed_is_the_example_of_dsse(self) -> None:
        said = dsse.pae(payload_type="http://example.com/HelloWorld", payload=b"hello world")
        assert said == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"

    def test_every_key_of_an_overlap_signs_the_exact_bytes(self) -> None:
        payload = b'{"b":1,  "a":2}\x00\xff'
        made = dsse.envelope(payload, keys=[("one", KEY), ("two", OTHER)])
        publics = {"one": KEY.public_key().public_bytes_raw(), "two": OTHER.public_key().public_bytes_raw()}
        assert dsse.opened(made, keys=publics) == (payload, {"one", "two"})
        assert dsse.opened(made, keys={"two": publics["two"]}) == (payload, {"two"})

    @pytest.mark.parametrize(
        ("changes", "wrong"),
        [
            ({"payload": notes.encoded(b"other")}, "does not match"),
            ({"payloadType": "text/plain"}, "does not match"),
            ({"signatures": []}, "no known key"),
            ({"signatures": [{"sig": notes.encoded(bytes(64))}]}, "no known key"),
        ],
    )
    def test_a_change_is_refused(self, changes: dict[str, object], wrong: str) -> None:
        made = dsse.envelope(b"payload", keys=[("one", KEY)]) | changes
        with pytest.raises(dsse.BadEnvelopeError, match=wrong):
            dsse.opened(made, keys={"one": KEY.public_key().public_bytes_raw()})
