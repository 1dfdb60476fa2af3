"""The keys that an evidence log was ever signed with, and what each of them may have signed. Pure: no file, no setting.

What a key may have signed is known by tree size (`apps.evidence.keys` says why): a log's checkpoint of a size outside
`begins` to `ends` is not believed, even under a right signature.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.jwk import OKPKey

from apps.evidence import notes

ENDLESS: Final = 2**63


@dataclass(frozen=True, kw_only=True)
class LogKey:
    """A key and what it may have signed: of each log (by origin) the sizes from `begins` to `ends`, both included.

    A log that `begins` does not name began under the key. `ends` is None while the key signs; once it is retired, a log
    that `ends` does not name began after it.
    """

    kid: str
    public: bytes
    private: Ed25519PrivateKey | None = field(repr=False)
    begins: Mapping[str, int]
    ends: Mapping[str, int] | None

    def covers(self, *, origin: str, size: int) -> bool:
        """Return whether the key may have signed the checkpoint of `size`."""
        last = ENDLESS if self.ends is None else self.ends.get(origin, -1)
        return self.begins.get(origin, 0) <= size <= last


@dataclass(frozen=True, kw_only=True)
class KeyRing:
    """All keys the logs were ever signed with."""

    keys: tuple[LogKey, ...]

    @property
    def signing(self) -> list[tuple[str, Ed25519PrivateKey]]:
        """The keys that sign now, the newest last: one, or two while they overlap."""
        return [(key.kid, key.private) for key in self.keys if key.private is not None]

    def signed(self, checkpoint: notes.Checkpoint) -> str:
        """Return the checkpoint as a note, signed by every key that signs now."""
        return notes.signed(checkpoint.text(), name=checkpoint.origin, keys=[private for _, private in self.signing])

    def opened(self, note: str, *, origin: str) -> notes.Checkpoint:
        """Return the checkpoint of log `origin` in a note; raise `notes.BadNoteError` if it is not to be believed."""
        known = {notes.key_id(name=origin, public=key.public): key for key in self.keys}
        text, by = notes.opened(note, name=origin, keys={each: key.public for each, key in known.items()})
        checkpoint = notes.parsed(text)
        if checkpoint.origin != origin:
            raise notes.BadNoteError(f"the checkpoint is of {checkpoint.origin}, not of {origin}")
        if not any(known[each].covers(origin=origin, size=checkpoint.size) for each in by):
            raise notes.BadNoteError(f"the key that signed was not in use at size {checkpoint.size}")
        return checkpoint

    def verifier_keys(self, *, origin: str) -> list[str]:
        """Return the public keys of a log as C2SP's tools take them, those that sign now last."""
        return [notes.verifier_key(name=origin, public=key.public) for key in self.keys]

    def published(self) -> dict[str, Any]:
        """Return the public halves as a JWK set, with what each may have signed: the key file of a verifier."""
        return {"keys": [_document(key) for key in self.keys]}

    def publics(self, *, origin: str, size: int) -> dict[str, bytes]:
        """Return the raw public keys, by id, that may have signed what was said of a log at `size`."""
        return {key.kid: key.public for key in self.keys if key.covers(origin=origin, size=size)}

    def speakers(self, *, origin: str, size: int) -> set[str]:
        """Return the ids of the keys that may send on what a log was at `size`: those of then, and all that came later.

        A backlog that outlasts a rotation is sent under the new key alone, its checkpoints signed by the old.
        """
        return {key.kid for key in self.keys if key.ends is None or size <= key.ends.get(origin, -1)}


def key_of(jwk: Mapping[str, Any]) -> LogKey:
    """Return the key that a JWK with `begins` (and `ends`) is; the private half where it is in there."""
    key = OKPKey.import_key(dict(jwk))
    private = key.private_key
    return LogKey(
        kid=str(jwk["kid"]),
        public=key.public_key.public_bytes_raw(),
        private=private if isinstance(private, Ed25519PrivateKey) else None,
        begins=dict(jwk["begins"]),
        ends=dict(jwk["ends"]) if "ends" in jwk else None,
    )


def _document(key: LogKey) -> dict[str, Any]:
    ends = {} if key.ends is None else {"ends": dict(key.ends)}
    return {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": notes.encoded(key.public).rstrip("=").replace("+", "-").replace("/", "_"),
        "kid": key.kid,
        "begins": dict(key.begins),
        **ends,
    }
