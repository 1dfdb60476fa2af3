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
from pathlib import Path
from typing import Any, Final, Self

from django.conf import settings
from joserfc.jwk import OKPKey

from apps.evidence.ring import KeyRing, key_of
from apps.tenancy.keys import BadKeyError, CachedFile, KeysMissingError, place

FILE: Final = "evidence.jwks"
PUBLIC_FILE: Final = "evidence.pub.json"  # the public halves alone: what the sink is given, and any verifier


class NoSuchKeyError(ValueError):
    """There is no key of that id, or none that could retire."""


def ensure(*, folder: Path) -> bool:
    """Make the first key where there is none; return whether it was made. Safe to run twice at once."""
    path = folder / FILE
    made = not path.exists() and place(path, _encoded([_fresh(begins={})]))
    _publish(path)
    return made


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


def published_in(path: Path) -> KeyRing:
    """Return the keys of a file of public halves; raise `BadKeyError` or `OSError`."""
    try:
        return KeyRing(keys=tuple(key_of(each) for each in json.loads(path.read_text())["keys"]))
    except (ValueError, KeyError, TypeError) as error:
        raise BadKeyError(f"{path} is not a set of published keys") from error


def _path() -> Path:
    return Path(settings.ENVIRONMENT.keys) / FILE


def _fresh(*, begins: Mapping[str, int]) -> dict[str, Any]:
    key = OKPKey.generate_key("Ed25519", auto_kid=True)
    while str(key.kid).startswith("-"):  # `evidence_keys retire KID` would take it for an option
        key = OKPKey.generate_key("Ed25519", auto_kid=True)
    return {**key.as_dict(private=True), "begins": dict(begins)}


def _encoded(keys: Sequence[Mapping[str, Any]]) -> bytes:
    return json.dumps({"keys": keys}, indent=1).encode()


def _parse(path: Path) -> KeyRing:
    try:
        keys = tuple(key_of(each) for each in json.loads(path.read_text())["keys"])
    except Exception as error:  # whatever it holds, it must not be shown
        raise BadKeyError(f"OPS_KEYS: {path} is not a set of Ed25519 JWKs") from error
    made = KeyRing(keys=keys)
    if not made.signing:
        raise BadKeyError(f"OPS_KEYS: {path} holds no key that signs")
    return made


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
        _publish(path)


def _publish(path: Path) -> None:
    """Write the public halves beside the keys in `path`, at one stroke."""
    public = path.with_name(PUBLIC_FILE)
    draft = public.with_name(f".{public.name}.{secrets.token_hex(8)}")
    if place(draft, json.dumps(_parse(path).published(), indent=1).encode()):
        draft.replace(public)


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
