"""Committed records get numbers without gaps, their logs grow by them, and each checkpoint is signed over them."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connection, transaction

from apps.evidence import keys, merkle
from apps.evidence.heads import Heads
from apps.evidence.logs import Log
from apps.evidence.notes import Checkpoint
from apps.evidence.operations import seal as sealing
from apps.evidence.operations.seal import ConflictError, seal
from tests.integration.conftest import Change, Control, Look
from tests.support import naive_merkle
from tests.support.work import admitted
from workers.sealer import LOOK_EVERY_S, Sealer

ACME, GLOBEX = Log("acme", "local"), Log("globex", "local")


def leaves(look: Look, log: Log) -> list[bytes]:
    """Return the leaves that have numbers, in their order."""
    rows = look(
        "SELECT leaf, number FROM evidence_records WHERE tenant_id = %s AND number IS NOT NULL ORDER BY number",
        log.tenant_id,
    )
    assert [row["number"] for row in rows] == list(range(len(rows))), "numbers have no gaps"
    return [bytes(row["leaf"]) for row in rows]


def checkpoints(look: Look, log: Log) -> list[dict[str, Any]]:
    return look("SELECT * FROM evidence_checkpoints WHERE tenant_id = %s ORDER BY size", log.tenant_id)


def naive_root(hashes: list[bytes]) -> bytes:
    """Return the root over leaf hashes by the oracle's own recursion."""
    if len(hashes) == 1:
        return hashes[0]
    k = naive_merkle.split_at(len(hashes))
    return merkle.node_hash(naive_root(hashes[:k]), naive_root(hashes[k:]))


def test_every_log_grows_and_is_signed(
    done: Callable[..., str], sealed: Callable[[], None], look: Look, heads: Heads
) -> None:
    for tenant in ("acme", "globex", "acme"):
        done(tenant)
    sealed()
    done()
    sealed()
    for log, sizes in ((ACME, [4, 6]), (GLOBEX, [2])):
        rows, hashes = checkpoints(look, log), leaves(look, log)
        assert [(row["start"], row["size"]) for row in rows] == list(zip([0, *sizes], sizes, strict=False))
        for row in rows:
            opened = keys.ring().opened(row["note"], origin=log.origin)
            assert opened.size == row["size"]
            assert opened.root == bytes(row["root"]) == naive_root(hashes[: row["size"]])
        assert heads.note(log) == rows[-1]["note"], "the last one is kept outside, too"


def test_records_are_numbered_in_the_order_in_which_they_were_written(
    done: Callable[..., str], sealed: Callable[[], None], look: Look
) -> None:
    done(), done()
    sealed()
    rows = look("SELECT number FROM evidence_records ORDER BY created_at, record_id")
    assert [row["number"] for row in rows] == [0, 1, 2, 3]


def test_what_is_not_committed_gets_no_number_and_is_not_skipped_later(
    sealed: Callable[[], None], look: Look, control: Control
) -> None:
    written, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        try:
            with transaction.atomic():
                admitted()
                written.set()
                assert go_on.wait(20)
        finally:
            connection.close()

    thread = threading.Thread(target=slow)
    thread.start()
    assert written.wait(20)
    admitted()
    sealed()
    assert len(leaves(look, ACME)) == 1
    go_on.set()
    thread.join()
    sealed()
    assert len(leaves(look, ACME)) == 2
    assert [row["size"] for row in checkpoints(look, ACME)] == [1, 2]


def test_a_step_is_bounded_and_asks_to_go_on(heads: Heads, control: Control, look: Look) -> None:
    for _ in range(5):
        admitted()
    sealer = Sealer(heads=heads, batch=2)
    with control():
        assert [sealer.step() for _ in range(4)] == [0.0, 0.0, LOOK_EVERY_S, LOOK_EVERY_S]
    assert [row["size"] for row in checkpoints(look, ACME)] == [2, 4, 5]


def test_two_sealers_at_once_do_no_harm(done: Callable[..., str], heads: Heads, control: Control, look: Look) -> None:
    for _ in range(10):
        done()
    with control():
        threads = [threading.Thread(target=_seal_all, args=(heads,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    hashes = leaves(look, ACME)
    assert len(hashes) == 20
    rows = checkpoints(look, ACME)
    assert bytes(rows[-1]["root"]) == naive_root(hashes)
    assert [row["start"] for row in rows] == [0, *(row["size"] for row in rows[:-1])]


def _seal_all(heads: Heads) -> None:
    """Seal as a process of its own would: with its own heads, in small steps."""
    from apps.tenancy.context import across_tenants  # noqa: PLC0415 - a thread has no context

    sealer = Sealer(heads=Heads(heads._folder), batch=3)
    try:
        with across_tenants():
            for _ in range(20):
                sealer.step()
    finally:
        connection.close()


class Mortal:
    """A cursor whose connection is cut when so many statements were run."""

    def __init__(self, cursor: Any, *, after: int, cut: Callable[[], Any]) -> None:
        self._cursor, self._left, self._cut = cursor, after, cut

    def execute(self, *asked: Any) -> Any:
        if not self._left:
            self._cut()
        self._left -= 1
        return self._cursor.execute(*asked)

    @property
    def rowcount(self) -> int:
        return int(self._cursor.rowcount)


@pytest.mark.parametrize("statements", range(3))
def test_who_dies_within_a_step_leaves_nothing_half_done(
    done: Callable[..., str],
    sealed: Callable[[], None],
    control: Control,
    look: Look,
    heads: Heads,
    superuser: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    statements: int,
) -> None:
    done()
    write: Any = sealing._write

    def cut() -> None:
        pid = connection.connection.info.backend_pid
        superuser.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

    with monkeypatch.context() as patched:
        patched.setattr(
            sealing, "_write", lambda cursor, sealed: write(Mortal(cursor, after=statements, cut=cut), sealed)
        )
        with control(), pytest.raises(OperationalError):
            seal(limit=10, ring=keys.ring(), heads=heads)
    assert leaves(look, ACME) == []
    assert checkpoints(look, ACME) == []
    assert heads.note(ACME) is None
    sealed()
    assert len(leaves(look, ACME)) == 2


def test_who_dies_between_commit_and_head_goes_on_from_the_log(
    done: Callable[..., str], sealed: Callable[[], None], control: Control, look: Look, heads: Heads
) -> None:
    done()
    sealed()
    behind = heads.note(ACME)
    done()
    sealed()
    assert behind is not None
    fresh = Heads(heads._folder)
    fresh.keep(ACME, keys.ring().opened(behind, origin=ACME.origin), note=behind)
    done()
    with control():
        Sealer(heads=Heads(heads._folder)).step()
    assert [row["size"] for row in checkpoints(look, ACME)] == [2, 4, 6]


def test_a_full_disk_holds_up_no_seal(
    done: Callable[..., str], sealed: Callable[[], None], look: Look, heads: Heads, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("apps.evidence.heads.os.open", full)
        done()
        sealed()
    assert ([row["size"] for row in checkpoints(look, ACME)], heads.note(ACME)) == ([2], None)
    done()
    sealed()
    last = checkpoints(look, ACME)[-1]
    assert (last["size"], heads.note(ACME)) == (4, last["note"])


@pytest.mark.parametrize("content", [b"no note", b"\xff\xfe\x00", b""])
def test_a_spoiled_head_holds_its_log_and_ends_no_process(
    done: Callable[..., str], sealed: Callable[[], None], look: Look, heads: Heads, content: bytes
) -> None:
    done()
    path = heads._path(ACME)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    done("globex")
    sealed()
    assert checkpoints(look, ACME) == []
    assert [row["size"] for row in checkpoints(look, GLOBEX)] == [2]


class TestBroken:
    """A log that was changed is not signed upon; the others go on."""

    @pytest.fixture(autouse=True)
    def _two_logs(self, done: Callable[..., str], sealed: Callable[[], None]) -> None:
        for tenant in ("acme", "globex", "acme", "globex"):
            done(tenant)
            sealed()

    @pytest.mark.parametrize(
        "ruin",
        [
            "DELETE FROM evidence_checkpoints WHERE tenant_id = 'acme'",
            "DELETE FROM evidence_checkpoints WHERE tenant_id = 'acme' AND size = 4",
            "UPDATE evidence_checkpoints SET root = sha256('') WHERE tenant_id = 'acme' AND size = 4",
            "UPDATE evidence_checkpoints SET peaks = sha256('') WHERE tenant_id = 'acme' AND size = 4",
            "UPDATE evidence_checkpoints SET note = replace(note, '4', '5') WHERE tenant_id = 'acme' AND size = 4",
            "UPDATE evidence_checkpoints SET size = 5 WHERE tenant_id = 'acme' AND size = 4",
            # Rows where the sealer's own are to stand.
            "UPDATE evidence_records SET number = 4 WHERE tenant_id = 'acme' AND number = 0",
            "UPDATE evidence_nodes SET first = 4 WHERE tenant_id = 'acme' AND level = 0 AND first = 0",
        ],
    )
    def test_is_held_and_named_and_holds_up_nobody(
        self,
        done: Callable[..., str],
        sealed: Callable[[], None],
        look: Look,
        change: Change,
        ruin: str,
    ) -> None:
        assert change(ruin)
        before = checkpoints(look, ACME)
        done(), done("globex")
        sealed()
        assert checkpoints(look, ACME) == before
        assert [row["size"] for row in checkpoints(look, GLOBEX)] == [2, 4, 6]
        assert look("SELECT 1 FROM evidence_records WHERE tenant_id = 'acme' AND number IS NULL")

    def test_is_sealed_again_once_it_is_mended(
        self, done: Callable[..., str], heads: Heads, control: Control, look: Look, change: Change
    ) -> None:
        change("UPDATE evidence_checkpoints SET size = 5 WHERE tenant_id = 'acme' AND size = 4")
        done()
        sealer = Sealer(heads=heads)
        with control():
            sealer.step()
        assert list(sealer._held) == [ACME]
        change("UPDATE evidence_checkpoints SET size = 4 WHERE tenant_id = 'acme' AND size = 5")
        sealer._held[ACME] = 0.0  # the while is over
        with control():
            sealer.step()
        assert [row["size"] for row in checkpoints(look, ACME)] == [2, 4, 6]
        assert sealer._held == {}

    def test_a_rewritten_past_is_noticed_by_who_was_not_there(
        self, done: Callable[..., str], heads: Heads, control: Control, change: Change
    ) -> None:
        change("UPDATE evidence_nodes SET hashes = sha256('') || sha256('') WHERE tenant_id = 'acme' AND level = 0")
        fresh = Heads(heads._folder)
        kept = keys.ring().signed(Checkpoint(origin=ACME.origin, size=3, root=bytes(32)))
        fresh.keep(ACME, keys.ring().opened(kept, origin=ACME.origin), note=kept)
        done()
        with control():
            found = seal(limit=10, ring=keys.ring(), heads=fresh)
        assert "at size 3 the log has another root" in found.broken[ACME]

    def test_forged_rows_are_a_conflict(
        self, done: Callable[..., str], heads: Heads, control: Control, change: Change
    ) -> None:
        change("UPDATE evidence_records SET number = 4 WHERE tenant_id = 'acme' AND number = 0")
        done()
        with control(), pytest.raises(ConflictError) as conflict:
            seal(limit=10, ring=keys.ring(), heads=heads)
        assert conflict.value.logs == [ACME]


def test_nothing_waiting_costs_two_questions(control: Control, sealer: Sealer, django_assert_num_queries: Any) -> None:
    with control():
        connection.ensure_connection()
        with django_assert_num_queries(0):  # its questions are prepared, past Django's own cursor
            assert sealer.step() == LOOK_EVERY_S
