"""`module` steps: the module does the work at its own endpoint, and is asked until it is done."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings

from apps.core.clock import system_now
from apps.jobs.outcome import StopReason
from apps.tenancy import issuers, keys, tokens
from tests.support.migrating import Ground, code
from tests.support.receiver import Receiver, Told, receiving
from workers.migrations import module_step
from workers.migrations.ledger import token

MODULE = {"name": "tell", "kind": "module", "path": "/migrate", "revert": "/migrate/back"}


@pytest.fixture
def module(ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A module that says it is done, which the account may call."""
    monkeypatch.setattr(module_step, "_PAUSE_S", 0.01)
    keys.ensure_keys(folder=tmp_path / "keys")
    monkeypatch.setattr(settings, "ENVIRONMENT", replace(settings.ENVIRONMENT, keys=tmp_path / "keys"))
    with receiving((200, {}, b'{"state": "done", "done": 3, "total": 3}')) as receiver:
        place = urlsplit(receiver.url)
        grant = {"platform": {"hosts": [place.netloc], "networks": ["127.0.0.0/8"]}}
        (tmp_path / "keys" / "outbound.json").write_text(json.dumps(grant))
        yield receiver


def define(ground: Ground, module: Receiver, *, database: bool = False, **said: Any) -> None:
    targets = {"kind": "tenant", "endpoint": f"http://{urlsplit(module.url).netloc}/operations"}
    if database:
        targets |= {"database": "crm_database", "schema": "tenant_{target}"}
    ground.define({**MODULE, **said}, files={}, targets=targets)


def test_the_module_is_told_what_to_do_and_by_whom(ground: Ground, module: Receiver) -> None:
    define(ground, module)
    result = ground.attempt("tell", run=2, fence=3)
    assert code(result) == ("succeeded", None)
    assert [(word.done, word.total) for word in result.progress] == [(3, 3)]
    (told,) = module.told
    assert told.path == "/operations/migrate"
    assert told.event == {
        "migration": ground.migration, "target": "acme", "step": "tell", "direction": "up",
        "version_from": "1.4", "version_to": "1.5", "token": token(run=2, fence=3),
    }  # fmt: skip
    bearer = told.headers["authorization"].removeprefix("Bearer ")
    with pytest.raises(tokens.TokenError, match="meant for someone else"):
        tokens.verify(bearer, now=system_now())
    assert claims(bearer) == ("operations", "crm", ["acme"], "migrations:step", issuers.LOCAL_ISSUER)
    assert code(ground.attempt("tell", "down", run=3)) == ("succeeded", None)
    assert module.told[1].path == "/operations/migrate/back"
    assert module.told[1].event["direction"] == "down"


def claims(bearer: str) -> tuple[Any, ...]:
    """Return who says what to whom, as the signature's holder reads it."""
    from joserfc import jwt  # noqa: PLC0415

    said = jwt.decode(bearer, keys.signing_key(), algorithms=[tokens.ALGORITHM]).claims
    return said["sub"], said["aud"], said["tenants"], said["scope"], said["iss"]


def test_it_is_asked_again_until_it_is_done_and_every_call_is_the_same(ground: Ground, module: Receiver) -> None:
    answers = [
        (202, {"Retry-After": "0"}, b'{"state": "running", "done": 1, "total": 9, "cursor": "k1"}'),
        (503, {"Retry-After": "0"}, b""),
        (200, {}, b'{"state": "running"}'),
        (200, {}, b'{"state": "done", "done": 9, "total": 9}'),
    ]

    def answer(_: Told) -> Any:
        return answers[len(module.told) - 1]

    module.answer = answer
    define(ground, module)
    result = ground.attempt("tell")
    assert code(result) == ("succeeded", None)
    assert [(word.done, word.message) for word in result.progress] == [(1, "k1"), (9, None)]
    assert len({(told.headers["idempotency-key"], told.body) for told in module.told}) == 1
    assert len(module.told) == 4


@pytest.mark.parametrize(
    ("answer", "ended"),
    [
        ((200, {}, b'{"state": "failed"}'), ("failed", "module_failed")),
        ((200, {}, b'{"state": "perhaps"}'), ("failed", "bad_answer")),
        ((200, {}, b"[]"), ("failed", "bad_answer")),
        ((200, {}, b'{"state": "done"' + b" " * 70_000), ("failed", "bad_answer")),
        ((409, {}, b""), ("failed", "http_409")),
        ((302, {"Location": "http://127.0.0.1/"}, b""), ("failed", "redirected")),
        ((503, {"Retry-After": "0"}, b""), ("retry", "http_503")),
    ],
)
def test_what_it_answers_decides(ground: Ground, module: Receiver, answer: Any, ended: tuple[str, str]) -> None:
    module.answer = answer
    define(ground, module)
    assert code(ground.attempt("tell")) == ended


def test_it_is_called_only_where_the_account_may_call(ground: Ground, module: Receiver, tmp_path: Path) -> None:
    (tmp_path / "keys" / "outbound.json").write_text("{}")
    define(ground, module)
    assert code(ground.attempt("tell")) == ("failed", "outbound_forbidden")
    assert module.told == []


def test_a_token_goes_over_nothing_but_tls_outside(
    ground: Ground, module: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(settings.ENVIRONMENT), "local", property(lambda _: False), raising=False)
    define(ground, module)
    assert code(ground.attempt("tell")) == ("failed", "not_https")
    assert module.told == []


def test_an_attempt_that_is_told_to_stop_asks_no_more(ground: Ground, module: Receiver) -> None:
    module.answer = (200, {"Retry-After": "30"}, b'{"state": "running"}')
    define(ground, module)
    stopped = ground.attempt("tell", should_stop=lambda: StopReason.CANCELLED if module.told else None)
    assert code(stopped) == ("cancelled", "cancelled")
    assert len(module.told) == 1


def test_where_the_target_has_a_database_its_ledger_knows(ground: Ground, module: Receiver) -> None:
    ground.tenant("acme")
    define(ground, module, database=True)
    for fence in (1, 2):
        assert code(ground.attempt("tell", fence=fence, sets_version="1.5")) == ("succeeded", None)
    assert len(module.told) == 1, "what is done is not asked for again"
    assert ground.ledger("tell") == ("applied", 0)
    assert ground.one("SELECT version FROM tenant_acme.ops_schema_version") == "1.5"
    assert code(ground.attempt("tell", "down", run=2)) == ("succeeded", None)
    assert ground.ledger("tell") == ("reverted", 0)
    assert code(ground.attempt("tell", "down", run=1)) == ("failed", "fenced_off")


def test_nothing_is_undone_where_there_is_nothing_to_undo(ground: Ground, module: Receiver) -> None:
    define(ground, module, revert="nothing")
    assert code(ground.attempt("tell", "down", run=2)) == ("succeeded", None)
    assert module.told == []
