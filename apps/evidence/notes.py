"""Signed notes and checkpoints, as C2SP writes them (signed-note, tlog-checkpoint), with Ed25519. Pure.

A checkpoint says what a log was at one size: origin, size, root. Two extension lines are ours, and signed with the
rest: when it was sealed, and a digest over the columns of the records it sealed (`columns_hash`), which no leaf holds.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from apps.evidence.merkle import HASH_BYTES

ED25519 = b"\x01"  # C2SP's signature type
KEY_ID_BYTES = 4
MOST_SIGNATURES = 32
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_SIGNATURE_LINE = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")


class BadNoteError(ValueError):
    """A note is not to be believed, or is none; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a log was at one size; `sealed_at` is RFC 3339, `columns` the digest over its step's columns."""

    origin: str
    size: int
    root: bytes
    sealed_at: str = ""
    columns: bytes = b""

    def text(self) -> str:
        """Return the note's text."""
        lines = [self.origin, str(self.size), encoded(self.root)]
        if self.sealed_at:
            lines.append(f"sealed {self.sealed_at}")
        if self.columns:
            lines.append(f"columns {encoded(self.columns)}")
        return "\n".join(lines) + "\n"


def origin_of(*, region: str, tenant_id: str) -> str:
    """Return the name of the log of a tenant's records in a region; its keys sign under the same name."""
    return f"operations/{quote(region, safe='')}/{tenant_id}"


def key_id(*, name: str, public: bytes) -> bytes:
    """Return the four bytes that name an Ed25519 key (its 32 raw bytes) in notes signed as `name`."""
    return hashlib.sha256(name.encode() + b"\n" + ED25519 + public).digest()[:KEY_ID_BYTES]


def verifier_key(*, name: str, public: bytes) -> str:
    """Return a public key as C2SP's tools take it: name, key id and key in one word."""
    return f"{name}+{key_id(name=name, public=public).hex()}+{encoded(ED25519 + public)}"


def signed(text: str, *, name: str, keys: Sequence[Ed25519PrivateKey]) -> str:
    """Return the note of `text` (which ends in a newline), with a signature line of each of `keys`, as `name`."""
    lines = []
    for key in keys:
        public = key.public_key().public_bytes_raw()
        lines.append(f"— {name} {encoded(key_id(name=name, public=public) + key.sign(text.encode()))}\n")
    return f"{text}\n{''.join(lines)}"


def signatures(note: str) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    """Return a note's text, and (name, key id, signature) of each line; raise `BadNoteError` for what is no note."""
    if any(ord(character) < ord(" ") and character != "\n" for character in note):
        raise BadNoteError("the note has control characters")
    text, blank, block = note.rpartition("\n\n")
    if not blank or not block.endswith("\n"):
        raise BadNoteError("the note has no signature")
    found = []
    for line in block.removesuffix("\n").split("\n"):
        match = _SIGNATURE_LINE.fullmatch(line)
        if match is None:
            raise BadNoteError("a line among the signatures is none")
        raw = decoded(match[2])
        found.append((match[1], raw[:KEY_ID_BYTES], raw[KEY_ID_BYTES:]))
    if len(found) > MOST_SIGNATURES:
        raise BadNoteError("the note has too many signatures")
    return text + "\n", found


def opened(note: str, *, name: str, keys: Mapping[bytes, bytes]) -> tuple[str, set[bytes]]:
    """Return the text of a note that is signed as `name` by one of `keys` (id → raw public key), and which signed it.

    Lines of others are passed over, as C2SP asks, so that keys can rotate and witnesses cosign. Raises `BadNoteError`
    when no known key signed, or when a line of a known key does not verify.
    """
    text, lines = signatures(note)
    by: set[bytes] = set()
    for who, identity, signature in lines:
        if who != name or identity not in keys:
            continue
        try:
            Ed25519PublicKey.from_public_bytes(keys[identity]).verify(signature, text.encode())
        except InvalidSignature as error:
            raise BadNoteError(f"the signature of key {identity.hex()} does not match the text") from error
        by.add(identity)
    if not by:
        raise BadNoteError("no known key signed the note")
    return text, by


def parsed(text: str) -> Checkpoint:
    """Return the checkpoint that a note's text is; unknown extension lines are passed over."""
    lines = text.removesuffix("\n").split("\n")
    if len(lines) < 3 or not all(lines) or not text.endswith("\n"):  # noqa: PLR2004 - origin, size, root
        raise BadNoteError("a checkpoint has three lines at least, and none is empty")
    if not _SIZE.fullmatch(lines[1]):
        raise BadNoteError("the checkpoint's size is no number")
    root = decoded(lines[2])
    if len(root) != HASH_BYTES:
        raise BadNoteError("the checkpoint's root is no SHA-256 hash")
    more = dict(line.split(" ", 1) for line in lines[3:] if " " in line)
    return Checkpoint(
        origin=lines[0],
        size=int(lines[1]),
        root=root,
        sealed_at=more.get("sealed", ""),
        columns=decoded(more["columns"]) if "columns" in more else b"",
    )


def encoded(data: bytes) -> str:
    """Return bytes in standard base64."""
    return base64.b64encode(data).decode("ascii")


def decoded(text: str) -> bytes:
    """Return the bytes that standard base64 spells, in its one canonical form; raise `BadNoteError` for any other."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadNoteError("what should be base64 is not") from error
    if encoded(data) != text:
        raise BadNoteError("the base64 is not in its canonical form")
    return data
