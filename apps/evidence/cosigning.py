"""Cosignatures: a witness says that it saw a checkpoint, and that the log went on from the one it saw before. Pure.

As C2SP's tlog-cosignature writes them (cosignature/v1, Ed25519): one more line under the note, over its text and the
time. A log that was rewritten or cut off has no second history that the same witness signed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from apps.evidence import notes

COSIGNATURE = b"\x04"  # C2SP's signature type
TIME_BYTES = 8
_KEY_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class Witness:
    """Who cosigns: a name, and the key's 32 raw public bytes."""

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        """The four bytes that name the key in notes."""
        return hashlib.sha256(self.name.encode() + b"\n" + COSIGNATURE + self.public).digest()[: notes.KEY_ID_BYTES]

    def word(self) -> str:
        """Return the public key in C2SP's form: name, key id and key in one word."""
        return f"{self.name}+{self.key_id.hex()}+{notes.encoded(COSIGNATURE + self.public)}"

    @classmethod
    def of_word(cls, word: str) -> Witness:
        """Return the witness that `word` describes; raise `notes.BadNoteError` for what describes none."""
        name, _, rest = word.strip().partition("+")
        identity, _, key = rest.partition("+")
        raw = notes.decoded(key)
        witness = cls(name=name, public=raw[1:])
        if raw[:1] != COSIGNATURE or len(witness.public) != _KEY_BYTES or witness.key_id.hex() != identity:
            raise notes.BadNoteError("a witness's key is written name+id+key, with the id of that key")
        return witness


def cosigned(note: str, *, by: Witness, key: Ed25519PrivateKey, seconds: int) -> str:
    """Return `note` with a line more: the witness's signature at `seconds` since 1970."""
    text, _ = notes.signatures(note)
    signature = seconds.to_bytes(TIME_BYTES, "big") + key.sign(_message(text, seconds))
    return f"{note}— {by.name} {notes.encoded(by.key_id + signature)}\n"


def seen_at(note: str, *, by: Witness) -> int:
    """Return when the witness cosigned `note`, in seconds since 1970; raise `notes.BadNoteError` where it has not."""
    text, lines = notes.signatures(note)
    for name, identity, signature in lines:
        if (name, identity) != (by.name, by.key_id):
            continue
        seconds = int.from_bytes(signature[:TIME_BYTES], "big")
        try:
            Ed25519PublicKey.from_public_bytes(by.public).verify(signature[TIME_BYTES:], _message(text, seconds))
        except InvalidSignature as error:
            raise notes.BadNoteError(f"the cosignature of {by.name} does not match the text") from error
        return seconds
    raise notes.BadNoteError(f"{by.name} has not cosigned the note")


def _message(text: str, seconds: int) -> bytes:
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()
