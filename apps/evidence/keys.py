"""The keys that sign the evidence logs: `OPS_KEYS/evidence.jwks`, a JWK set that only its owner may read.

Keys rotate with an overlap: the new one signs beside the old, so that whoever holds the old public key alone still
believes the checkpoints of that time, and learns the new one meanwhile. Then the old one retires: its private half is
erased for good, its public half stays, since what it signed stays. What a key may have signed is known by tree size: a
log's checkpoint of a size outside `begins` to `ends` is not believed, even under a right signature, so that a retired
key which leaked one day can add nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings
from joserfc.jwk import OKPKey

from apps.evidence import notes
from apps.tenancy.keys import BadKeyError, CachedFile, KeysMissingError, place

FILE: Final = "evidence.jwks"
ENDLESS: Final = 2**63


class NoSuchKeyError(ValueError):
    """There is no key of that id, or none that could retire."""


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


def ensure(*, folder: Path) -> bool:
    """Make the first key where there is none; return whether it was made. Safe to run twice at once."""
    path = folder / FILE
    return not path.exists() and place(path, _encoded([_fresh(begins={})]))


def ring() -> KeyRing:
    """Return the keys as they are now; raise `KeysMissingError` or `BadKeyError`."""
    try:
        return _files.read(_path())
    except FileNotFoundError as error:
        raise KeysMissingError(f"OPS_KEYS: there is no {_path()}; `python manage.py set_up` makes it") from error


def begin(*, sizes: Mapping[str, int]) -> str:
    """Add a key that signs from now on beside those that sign; `sizes` are the logs' by origin. Return its id.

    A log that grows meanwhile does no harm: what the new key signs is larger still.
    """
    with _edited() as keys:
        fresh = _fresh(begins=sizes)
        keys.append(fresh)
    return str(fresh["kid"])


def retire(kid: str, *, sizes: Mapping[str, int]) -> None:
    """Erase the private half of key `kid` and note that it signed nothing beyond `sizes`.

    Call it while no log can grow (under the sealing lock): beyond these sizes nothing is believed of it. Raises
    `NoSuchKeyError` for an unknown or retired key, and for the only one that signs.
    """
    with _edited() as keys:
        signing = [key["kid"] for key in keys if "d" in key]
        if kid not in signing:
            raise NoSuchKeyError(f"no key {kid} signs (those that do: {', '.join(signing)})")
        if signing == [kid]:
            raise NoSuchKeyError(f"{kid} is the only key that signs: rotate first")
        for key in keys:
            if key["kid"] == kid:
                del key["d"]
                key["ends"] = dict(sizes)


def _path() -> Path:
    return Path(settings.ENVIRONMENT.keys) / FILE


def _fresh(*, begins: Mapping[str, int]) -> dict[str, Any]:
    key = OKPKey.generate_key("Ed25519", auto_kid=True)
    return {**key.as_dict(private=True), "begins": dict(begins)}


def _document(key: LogKey) -> dict[str, Any]:
    ends = {} if key.ends is None else {"ends": dict(key.ends)}
    return {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": _b64url(key.public),
        "kid": key.kid,
        "begins": dict(key.begins),
        **ends,
    }


def _b64url(data: bytes) -> str:
    return notes.encoded(data).rstrip("=").replace("+", "-").replace("/", "_")


def _encoded(keys: Sequence[Mapping[str, Any]]) -> bytes:
    return json.dumps({"keys": keys}, indent=1).encode()


def _parse(path: Path) -> KeyRing:
    try:
        keys = tuple(_key(each) for each in json.loads(path.read_text())["keys"])
    except Exception as error:  # whatever it holds, it must not be shown
        raise BadKeyError(f"OPS_KEYS: {path} is not a set of Ed25519 JWKs") from error
    made = KeyRing(keys=keys)
    if not made.signing:
        raise BadKeyError(f"OPS_KEYS: {path} holds no key that signs")
    return made


def _key(jwk: Mapping[str, Any]) -> LogKey:
    key = OKPKey.import_key(dict(jwk))
    private = key.private_key
    return LogKey(
        kid=str(jwk["kid"]),
        public=key.public_key.public_bytes_raw(),
        private=private if isinstance(private, Ed25519PrivateKey) else None,
        begins=dict(jwk["begins"]),
        ends=dict(jwk["ends"]) if "ends" in jwk else None,
    )


@contextmanager
def _edited() -> Iterator[list[dict[str, Any]]]:
    """Yield the file's keys to be changed, one editor at a time; what comes of it replaces the file at one stroke."""
    path = _path()
    with _Lock(path.with_suffix(".lock")):
        try:
            keys: list[dict[str, Any]] = json.loads(path.read_text())["keys"]
        except FileNotFoundError as error:
            raise KeysMissingError(f"OPS_KEYS: there is no {path}; `python manage.py set_up` makes it") from error
        yield keys
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        if place(draft, _encoded(keys)):
            draft.replace(path)


class _Lock:
    """An advisory lock on a file beside the keys, freed by the kernel when its holder dies."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def __enter__(self) -> Self:
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


_files: Final = CachedFile(_parse)
