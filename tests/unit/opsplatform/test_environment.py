"""A setting that cannot be used is named at once, with what would be right: no process starts and dies of it later."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsplatform.settings import environment

HOME = {"OPS_HOME": "/nowhere"}


def test_nothing_set_is_fine() -> None:
    read = environment.read(HOME)
    assert (read.port, read.flower_port, read.local, read.embedded_database) == (8000, 5555, True, True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OPS_PORT", "80a"),
        ("OPS_PORT", "0"),
        ("OPS_PORT", "65536"),
        ("OPS_FLOWER_PORT", "-1"),
        ("OPS_ENV", "staging"),
        ("OPS_DEBUG", "maybe"),
        ("OPS_DATABASE_ROLE", "superuser"),
        ("DATABASE_URL", "mysql://x/y"),
        ("DATABASE_URL", "postgresql://u:p@127.0.0.1:abc/x"),
        ("BROKER_URL", "amqp://x"),
        ("BROKER_URL", "sentinel://x:26379"),
        ("OPS_EVENTS_URL", "http://x"),
        ("OPS_GOVERNANCE_URL", "garbage"),
        ("OPS_SUBSCRIPTION_URL", "garbage"),
        ("OPS_EVIDENCE_URL", "ftp://x"),
        ("OPS_STORAGE_URL", "garbage"),
        ("OPS_PUBLIC_URL", "ops.example.org"),
        ("OPS_PUBLIC_URL", "ftp://ops.example.org"),
        ("OPS_PUBLIC_URL", "https://[::1"),
        ("OPS_PUBLIC_URL", "https://"),
        ("OPS_PUBLIC_URL", "https://u:p@ops.example.org"),
        ("OPS_PUBLIC_URL", "https://ops.example.org/?a=b"),
        ("OPS_TRUSTED_ISSUERS", "/nope"),
    ],
)
def test_a_bad_one_is_named(name: str, value: str) -> None:
    with pytest.raises(environment.BadSettingError) as refused:
        environment.read({**HOME, name: value})
    assert str(refused.value).startswith(name)


def test_one_port_for_two_is_refused() -> None:
    with pytest.raises(environment.BadSettingError, match="OPS_PORT and OPS_FLOWER_PORT are both 8412"):
        environment.read({**HOME, "OPS_PORT": "8412", "OPS_FLOWER_PORT": "8412"})


def test_no_sentence_repeats_a_password(tmp_path: Path) -> None:
    with pytest.raises(environment.BadSettingError) as refused:
        environment.read({**HOME, "DATABASE_URL": "postgresql://u:hunter2@127.0.0.1:abc/x"})
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("said", ["https://ops.example.org/plane", "https://ops.example.org/plane/"])
def test_the_public_address_ends_without_a_slash(said: str) -> None:
    assert environment.read({**HOME, "OPS_PUBLIC_URL": said}).public_url == "https://ops.example.org/plane"
