"""Telling the scheduler: after the commit, whose job waits; and nobody fails for it."""

from __future__ import annotations

import psycopg
import pytest
from django.db import connection, transaction

from apps.jobs.operations.wake import CHANNEL, wake_scheduler
from tests.integration.conftest import Control


def test_the_word_is_said_after_the_commit(control: Control, superuser: psycopg.Connection) -> None:
    superuser.execute(f"LISTEN {CHANNEL}".encode())
    with control():
        with transaction.atomic():
            wake_scheduler(tenant_id="acme")
            assert list(superuser.notifies(timeout=0)) == []
        assert [each.payload for each in superuser.notifies(timeout=5, stop_after=1)] == ["acme"]
    superuser.execute(f"UNLISTEN {CHANNEL}".encode())


def test_what_was_committed_is_not_answered_with_an_error_because_nobody_could_be_told(
    control: Control, superuser: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    with control():
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                (pid,) = cursor.fetchone() or (0,)
            transaction.on_commit(lambda: superuser.execute(b"SELECT pg_terminate_backend(%s, 5000)", [pid]))
            wake_scheduler(tenant_id="acme")
        connection.close()
    assert "wake_scheduler" in caplog.text
