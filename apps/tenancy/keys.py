"""The plane's own keys: files of `settings.ENVIRONMENT.keys`, made once by set-up, readable by their owner only.

`tokens.jwk` (Ed25519, private) signs tokens, `messages.key` (32 random bytes) authenticates what workers are told
through the broker, `webhooks.key` (32 too) makes the secrets that sign webhooks, `channels.key` (32 too) seals what
operators type about notification channels, `django.secret` signs people's sessions; `evidence.jwks` is the evidence
log's, and the work of `apps.evidence.keys`. Reading is cached until the file changes: a new key needs no restart.
Nothing here logs, prints or returns a private key to anyone but the code that signs.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from django.conf import settings
from joserfc.jwk import OKPKey

TOKENS: Final = "tokens.jwk"
MESSAGES: Final = "messages.key"
WEBHOOKS: Final = "webhooks.key"
CHANNELS: Final = "channels.key"
DJANGO_SECRET: Final = "django.secret"  # noqa: S105 - a file's name
MESSAGE_KEY_BYTES: Final = 32

Content = TypeVar("Content")


class KeysMissingError(RuntimeError):
    """A key file is not there: set-up has not run for this `OPS_HOME`, or `OPS_KEYS` points elsewhere."""


class BadKeyError(RuntimeError):
    """A key file does not hold the key it should."""


class CachedFile(Generic[Content]):
    """A file's content, parsed again when the file is another than the one last parsed."""

    def __init__(self, parse: Callable[[Path], Content]) -> None:
        self._parse = parse
        self._held: dict[Path, tuple[tuple[int, int, int], Content]] = {}

    def read(self, path: Path) -> Content:
        """Return what `path` holds now; raise what the parser raises, or `OSError` where there is no file."""
        status = path.stat()
        identity = (status.st_mtime_ns, status.st_ino, status.st_size)
        held = self._held.get(path)
        if held is None or held[0] != identity:
            held = (identity, self._parse(path))
            self._held[path] = held
        return held[1]


def ensure_keys(*, folder: Path) -> list[str]:
    """Make the keys that `folder` lacks (0600, the folder 0700); return the names of those it made.

    Safe to run twice at once: a file appears whole under its name or not at all, and the first one to appear stays.
    Raises `OSError` where the folder cannot be written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    makers: dict[str, Callable[[], bytes]] = {
        TOKENS: _new_signing_key,
        MESSAGES: lambda: secrets.token_bytes(MESSAGE_KEY_BYTES),
        WEBHOOKS: lambda: secrets.token_bytes(MESSAGE_KEY_BYTES),
        CHANNELS: lambda: secrets.token_bytes(MESSAGE_KEY_BYTES),
        DJANGO_SECRET: lambda: secrets.token_urlsafe(48).encode(),
    }
    return [name for name, make in makers.items() if not (folder / name).exists() and place(folder / name, make())]


def _new_signing_key() -> bytes:
    key = OKPKey.generate_key("Ed25519", parameters={"alg": "Ed25519", "use": "sig"}, auto_kid=True)
    return json.dumps(key.as_dict(private=True)).encode()


def place(path: Path, content: bytes) -> bool:
    """Write `content` (0600) under `path` unless someone was faster; return whether it was written."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(draft)  # unlike a rename, this never replaces a key that is already in use
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    return True


def signing_key() -> OKPKey:
    """Return the private key that signs this plane's tokens; raise `KeysMissingError` or `BadKeyError`."""
    return _read(_signing_keys, TOKENS)


def message_key() -> bytes:
    """Return the 32 bytes that authenticate messages to workers; raise `KeysMissingError` or `BadKeyError`."""
    return _read(_message_keys, MESSAGES)


def webhook_key() -> bytes:
    """Return the 32 bytes that make webhooks' secrets; raise `KeysMissingError` or `BadKeyError`."""
    return _read(_message_keys, WEBHOOKS)


def channel_key() -> bytes:
    """Return the 32 bytes that seal channels' settings; raise `KeysMissingError` or `BadKeyError`."""
    return _read(_message_keys, CHANNELS)


def public_jwks() -> dict[str, list[dict[str, Any]]]:
    """Return the JWK set with which others check this plane's tokens: public parts only."""
    return {"keys": [dict(signing_key().as_dict(private=False))]}


def _read(file: CachedFile[Content], name: str) -> Content:
    path = settings.ENVIRONMENT.keys / name
    try:
        return file.read(path)
    except FileNotFoundError as error:
        raise KeysMissingError(f"OPS_KEYS: there is no {path}; `python manage.py set_up` makes it") from error


def _parse_signing_key(path: Path) -> OKPKey:
    try:
        key = OKPKey.import_key(json.loads(path.read_text()))
    except Exception as error:
        raise BadKeyError(f"OPS_KEYS: {path} is not a JWK") from error
    if not key.is_private or key.curve_name != "Ed25519" or not key.kid:
        raise BadKeyError(f"OPS_KEYS: {path} is not a private Ed25519 JWK with a kid")
    return key


def _parse_message_key(path: Path) -> bytes:
    content = path.read_bytes()
    if len(content) != MESSAGE_KEY_BYTES:
        raise BadKeyError(f"OPS_KEYS: {path} does not hold {MESSAGE_KEY_BYTES} bytes")
    return content


_signing_keys: Final = CachedFile(_parse_signing_key)
_message_keys: Final = CachedFile(_parse_message_key)
