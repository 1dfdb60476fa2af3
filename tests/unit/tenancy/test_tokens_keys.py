"""The plane's keys: made once, private, whole, and read again when replaced."""

import dataclasses
import json
import stat
import threading
from pathlib import Path

import pytest
from pytest_django import Settings

from apps.tenancy import keys


@pytest.fixture
def folder(tmp_path: Path, settings: Settings) -> Path:
    settings.ENVIRONMENT = dataclasses.replace(settings.ENVIRONMENT, keys=tmp_path / "keys")
    return tmp_path / "keys"


def test_keys_are_made_once_and_belong_to_their_owner(folder: Path) -> None:
    assert keys.ensure_keys(folder=folder) == [
        "tokens.jwk",
        "messages.key",
        "webhooks.key",
        "channels.key",
        "django.secret",
    ]
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert keys.ensure_keys(folder=folder) == []
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len(keys.message_key()) == len(keys.webhook_key()) == 32
    assert keys.message_key() != keys.webhook_key()


def test_a_missing_key_alone_is_made_again(folder: Path) -> None:
    keys.ensure_keys(folder=folder)
    kid = keys.signing_key().kid
    (folder / "messages.key").unlink()
    assert keys.ensure_keys(folder=folder) == ["messages.key"]
    assert keys.signing_key().kid == kid


def test_many_set_ups_at_once_agree_on_one_key(folder: Path) -> None:
    made: list[str] = []
    threads = [threading.Thread(target=lambda: made.extend(keys.ensure_keys(folder=folder))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    every = ["channels.key", "django.secret", "messages.key", "tokens.jwk", "webhooks.key"]
    assert sorted(made) == sorted(path.name for path in folder.iterdir()) == every


def test_only_the_public_part_is_published(folder: Path) -> None:
    keys.ensure_keys(folder=folder)
    private = json.loads((folder / "tokens.jwk").read_text())
    (published,) = keys.public_jwks()["keys"]
    assert published.keys() == {"kty", "crv", "x", "kid", "alg", "use"}
    assert private["d"] not in json.dumps(keys.public_jwks())
    assert published["kid"] == private["kid"]


def test_a_replaced_key_is_used_at_once(folder: Path, tmp_path: Path) -> None:
    keys.ensure_keys(folder=folder)
    before = keys.signing_key().kid
    keys.ensure_keys(folder=tmp_path / "new")
    (tmp_path / "new" / "tokens.jwk").rename(folder / "tokens.jwk")
    assert keys.signing_key().kid != before


def test_missing_and_broken_keys_are_named(folder: Path) -> None:
    with pytest.raises(keys.KeysMissingError, match=r"OPS_KEYS: there is no .*tokens\.jwk"):
        keys.signing_key()
    folder.mkdir()
    for content in ("", "{}", '{"kty": "oct", "k": "AAAA"}', '{"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}'):
        (folder / "tokens.jwk").write_text(content)
        with pytest.raises(keys.BadKeyError, match=r"OPS_KEYS: .*tokens\.jwk"):
            keys.signing_key()
    (folder / "messages.key").write_bytes(b"short")
    with pytest.raises(keys.BadKeyError, match=r"messages\.key does not hold 32 bytes"):
        keys.message_key()
