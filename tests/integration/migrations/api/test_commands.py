"""What a module asks of a migration under way: pause, resume, retry, abort, revert; and when each is refused."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from apps.core.ids import uuid7
from apps.migrations.operations import moving
from tests.integration.conftest import Change, Control, Look
from tests.integration.migrations.api.conftest import Laid
from tests.support.api import Module, fields, refused, said
from tests.support.campaigns import MIGRATIONS

CODES = {
    "pause": "not_pausable",
    "resume": "not_resumable",
    "retry": "not_retryable",
    "abort": "not_abortable",
    "revert": "not_revertable",
}


def ask(module: Module, migration: dict[str, Any], command: str, **body: Any) -> Any:
    return module.post(body, path=f"{MIGRATIONS}/{migration['id']}/{command}")


def test_it_is_paused_and_goes_on_with_who_and_why(running: Laid, acme: Module, look: Look) -> None:
    migration = running()
    paused = said(ask(acme, migration, "pause", reason="a look first"), 202)
    assert (paused["status"], paused["reason"]["sentence"]) == ("paused", "a look first")
    assert paused["stopped_at"] is not None
    again = said(ask(acme, paused, "resume"), 202)
    assert (again["status"], again["stopped_at"], again["reason"]) == ("running", None, None)
    assert again["version"] == migration["version"] + 2
    told = look(
        "SELECT type, data ->> 'by' AS by FROM events WHERE type IN ('operations.migration.paused',"
        " 'operations.migration.resumed') ORDER BY occurred_at"
    )
    assert told == [
        {"type": "operations.migration.paused", "by": "data-acquisition"},
        {"type": "operations.migration.resumed", "by": "data-acquisition"},
    ]


@pytest.mark.parametrize(
    ("command", "becomes", "order"),
    [("retry", "running", "retry"), ("abort", "aborting", None), ("revert", "reverting", None)],
)
def test_what_stands_still_is_tried_again_given_up_or_brought_back(
    running: Laid, acme: Module, look: Look, command: str, becomes: str, order: str | None
) -> None:
    migration = running()
    said(ask(acme, migration, "pause"), 202)
    assert said(ask(acme, migration, command), 202)["status"] == becomes
    assert look('SELECT "order" FROM migrations') == [{"order": order}]


@pytest.mark.parametrize("command", sorted(CODES))
def test_what_its_state_forbids_is_a_conflict_that_says_the_state(
    awaiting: Laid, running: Laid, acme: Module, control: Control, command: str
) -> None:
    migration = running() if command in {"resume", "retry"} else awaiting()
    if command == "abort":
        said(ask(acme, migration, "abort"), 202)
        with control():
            moving.abandon(UUID(migration["id"]))
    problem = refused(ask(acme, migration, command), 409, CODES[command])
    expected = {"resume": "running", "retry": "running", "abort": "failed"}.get(command, "awaiting_approval")
    assert problem["migration_status"] == expected


def test_nothing_is_brought_back_once_its_contract_phase_has_begun(running: Laid, acme: Module, change: Change) -> None:
    migration = running()
    change("UPDATE migrations SET contract_begun_at = clock_timestamp()")
    problem = refused(ask(acme, migration, "revert"), 409, "contract_begun")
    assert problem["migration_status"] == "running"


@pytest.mark.parametrize("command", sorted(CODES))
def test_a_command_takes_the_scope_a_reason_and_a_migration_of_ones_own(
    running: Laid, acme: Module, look: Look, command: str
) -> None:
    migration = running()
    said(ask(acme, migration, "pause"), 202)
    before = look("SELECT version, status FROM migrations")
    for scope in ("migrations:read", "migrations:approve"):
        refused(ask(Module("acme", scope=scope), migration, command), 403, "missing_scope")
    refused(ask(Module("globex", scope="migrations:run"), migration, command, what=1), 404, "not_found")
    refused(ask(acme, {"id": str(uuid7())}, command), 404, "not_found")
    refused(ask(acme, {"id": "x"}, command), 404, "not_found")
    assert fields(refused(ask(acme, migration, command, why="x"), 400, "invalid_fields")) == ["why"]
    assert fields(refused(ask(acme, migration, command, reason="x" * 501), 400, "invalid_fields")) == ["reason"]
    assert look("SELECT version, status FROM migrations") == before


def test_a_key_repeats_a_command_and_its_refusal(running: Laid, acme: Module, look: Look) -> None:
    migration = running()
    path = f"{MIGRATIONS}/{migration['id']}/pause"
    for _ in "12":
        said(acme.post({}, path=path, **{"Idempotency-Key": "p"}), 202)
    again = [acme.post({}, path=path, **{"Idempotency-Key": "q"}) for _ in "12"]
    refused(again[0], 409, "not_pausable")
    assert again[1].content == again[0].content
    assert look("SELECT count(*) AS n FROM events WHERE type = 'operations.migration.paused'") == [{"n": 1}]


def test_a_key_is_one_commands_and_one_bodys(running: Laid, acme: Module, look: Look) -> None:
    migration = running()
    path, key = f"{MIGRATIONS}/{migration['id']}/pause", {"Idempotency-Key": "p"}
    said(acme.post({"reason": "lunch"}, path=path, **key), 202)
    refused(acme.post({"reason": "a fire"}, path=path, **key), 409, "idempotency_conflict")
    refused(acme.post({}, path=path, **key), 409, "idempotency_conflict")
    assert look("SELECT reason FROM migrations") == [{"reason": "lunch"}]
