"""The logs over HTTP: checkpoints, proofs that prove, and walls between tenants."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from apps.core.ids import uuid7
from apps.evidence import dsse, keys, merkle, notes
from apps.evidence.logs import Log
from tests.integration.conftest import Look
from tests.support.api import Module, fields, refused, said

pytestmark = pytest.mark.usefixtures("db", "heads")
CHECKPOINT, CONSISTENCY = "/operations/evidence/checkpoint", "/operations/evidence/consistency"
ACME = Log("acme", "local")


@pytest.fixture
def acme() -> Module:
    return Module("acme", scope="evidence:read")


@pytest.fixture
def grown(done: Callable[..., str], sealed: Callable[[], None]) -> list[dict[str, Any]]:
    """Return acme's checkpoints as read while its log grew."""
    read = []
    for _ in range(3):
        done(), done("globex")
        sealed()
        read.append(said(Module("acme", scope="evidence:read").get(CHECKPOINT)))
    return read


def record_of(look: Look, tenant: str) -> UUID:
    row = look("SELECT record_id FROM evidence_records WHERE tenant_id = %s ORDER BY record_id LIMIT 1", tenant)[0]
    return UUID(str(row["record_id"]))


def test_the_newest_checkpoint_is_signed_and_comes_with_the_keys_that_check_it(grown: list[dict[str, Any]]) -> None:
    assert [each["size"] for each in grown] == [2, 4, 6]
    last = grown[-1]
    assert (last["origin"], last["tenant_id"], last["region"]) == (ACME.origin, "acme", "local")
    (word,) = last["keys"]
    name, identity, encoded = word.split("+", 2)
    text, _ = notes.opened(last["note"], name=name, keys={bytes.fromhex(identity): base64.b64decode(encoded)[1:]})
    told = notes.parsed(text)
    assert (told.size, notes.encoded(told.root)) == (6, last["root_hash"])


def test_a_consistency_proof_leads_from_a_kept_checkpoint_to_a_newer_one(
    acme: Module, grown: list[dict[str, Any]]
) -> None:
    for old, new in ((2, 4), (2, 6), (4, 6), (6, 6), (3, 5)):
        answer = said(acme.get(CONSISTENCY, **{"from": old, "to": new}))
        merkle.verify_consistency(
            old=old,
            new=new,
            old_root=base64.b64decode(answer["root_from"]),
            new_root=base64.b64decode(answer["root_to"]),
            proof=[base64.b64decode(each) for each in answer["proof"]],
        )
        for size, root in ((old, answer["root_from"]), (new, answer["root_to"])):
            for kept in grown:
                assert kept["size"] != size or kept["root_hash"] == root
    assert said(acme.get(CONSISTENCY, **{"from": 2}))["to"] == 6


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({}, "from"),
        ({"from": "x"}, "from"),
        ({"from": "-1"}, "from"),
        ({"from": "9" * 19}, "from"),
        ({"from": 2, "to": 7}, "to"),
        ({"from": 5, "to": 4}, "from"),
        ({"from": 2, "other": 1}, "other"),
    ],
)
def test_impossible_sizes_are_named(
    acme: Module, grown: list[dict[str, Any]], asked: dict[str, Any], field: str
) -> None:
    assert fields(refused(acme.get(CONSISTENCY, **asked), 400, "invalid_fields")) == [field]


def test_a_record_comes_with_its_envelope_and_the_proof_of_its_place(
    acme: Module, grown: list[dict[str, Any]], look: Look
) -> None:
    record = said(acme.get(f"/operations/evidence/{record_of(look, 'acme')}"))
    assert (record["tenant_id"], record["origin"], record["number"]) == ("acme", ACME.origin, 0)
    publics = {key.kid: key.public for key in keys.ring().keys}
    payload, _ = dsse.opened(record["envelope"], keys=publics)
    head, _, note = record["proof"].partition("\n\n")
    _, extra, index, *path = head.split("\n")
    salt = base64.b64decode(extra.removeprefix("extra "))
    told = keys.ring().opened(note, origin=ACME.origin)
    from hashlib import sha256  # noqa: PLC0415 - by hand, as a stranger would

    merkle.verify_inclusion(
        leaf=sha256(b"\x00" + sha256(salt + payload).digest()).digest(),
        index=int(index.removeprefix("index ")),
        size=told.size,
        proof=[base64.b64decode(each) for each in path],
        root=told.root,
    )


def test_a_record_that_waits_for_its_seal_has_no_proof_yet(acme: Module, done: Callable[..., str], look: Look) -> None:
    done()
    record = said(acme.get(f"/operations/evidence/{record_of(look, 'acme')}"))
    assert (record["number"], record["proof"]) == (None, None)
    assert record["envelope"] is not None
    refused(acme.get(CHECKPOINT), 404, "nothing_sealed")
    refused(acme.get(CONSISTENCY, **{"from": 0}), 404, "nothing_sealed")


class TestWalls:
    """Another tenant's log is not there."""

    def test_another_tenants_record_reads_as_none(self, acme: Module, grown: list[dict[str, Any]], look: Look) -> None:
        problems = []
        for each in (record_of(look, "globex"), uuid7(), "nonsense"):
            problem = refused(acme.get(f"/operations/evidence/{each}"), 404, "not_found")
            problems.append({name: value for name, value in problem.items() if name not in {"instance", "request_id"}})
        assert problems[0] == problems[1] == problems[2]

    @pytest.mark.parametrize("path", [CHECKPOINT, CONSISTENCY + "?from=0"])
    def test_another_tenants_log_reads_as_none(self, acme: Module, grown: list[dict[str, Any]], path: str) -> None:
        joined = "&" if "?" in path else "?"
        theirs = refused(acme.get(f"{path}{joined}tenant_id=globex"), 404, "not_found")
        none = refused(acme.get(f"{path}{joined}tenant_id=nobody"), 404, "not_found")
        assert {**theirs, "request_id": ""} == {**none, "request_id": ""}

    def test_a_token_for_several_says_which_and_a_platform_module_reads_any(
        self, grown: list[dict[str, Any]], look: Look
    ) -> None:
        several, all_ = (Module(*tenants, scope="evidence:read") for tenants in (("acme", "globex"), ("*",)))
        for each in (several, all_):
            refused(each.get(CHECKPOINT), 400, "tenant_required")
            assert said(each.get(CHECKPOINT, tenant_id="globex"))["origin"] == "operations/local/globex"
            record = said(each.get(f"/operations/evidence/{record_of(look, 'globex')}"))
            assert (record["tenant_id"], record["number"]) == ("globex", 0)
        refused(all_.get(CHECKPOINT, tenant_id="nobody"), 404, "not_found")
        refused(all_.get(CHECKPOINT, tenant_id="acme", region="elsewhere"), 404, "nothing_sealed")

    @pytest.mark.parametrize(
        "path",
        [CHECKPOINT, CONSISTENCY, f"/operations/evidence/{uuid7()}"],
        ids=["checkpoint", "consistency", "record"],
    )
    def test_the_scope_is_needed(self, path: str) -> None:
        refused(Module("acme", scope="jobs:read events:read").get(path), 403, "missing_scope")
