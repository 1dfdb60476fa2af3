"""The repairs of Celery and kombu: each does what its reason says; each is looked at again when upstream changes."""

from __future__ import annotations

import ast
import hashlib
import inspect
from importlib import import_module

import kombu
import pytest
from celery import Celery
from celery.fixups.django import DjangoWorkerFixup
from celery.worker.consumer import Consumer
from django.db import connection
from kombu.asynchronous import Hub
from kombu.transport.redis import Channel
from redis.exceptions import ConnectionError as BrokerGoneError

from opsplatform import embedded
from opsplatform.os_processes import wait_until
from workers import celery_patches

# What upstream looked like when it was repaired: module, class, function and the SHA-256 of its source.
LOOKED_AT = [
    (
        "kombu.transport.redis",
        "Channel",
        "_connparams",
        "e9a4295085a8fb905b44e81a935003affdc9e74298b779df4877ba575fbba196",
    ),
    (
        "celery.fixups.django",
        "DjangoWorkerFixup",
        "close_database",
        "886a5f0b2c37f5bac382d32a7ed5b4e29ff8c4a7e8502478614030a811ba3674",
    ),
    (
        "celery.fixups.django",
        "DjangoWorkerFixup",
        "_close_database",
        "38c5a1bca1e2880508bbfa43b672756b0a729d808eb8b34773621c63999d53a8",
    ),
    (
        "kombu.transport.redis",
        "Channel",
        "_brpop_read",
        "c42518699709f2df90f55a048fe6346612ae5527e5c4a6819f2c0920dc62088f",
    ),
    (
        "kombu.transport.virtual.base",
        "Transport",
        "_deliver",
        "799e242f3ec53863e6dd6c2ffdc74710fe8d7767809c78115cd72dd5ca24d014",
    ),
    (
        "kombu.transport.virtual.base",
        "Message",
        "__init__",
        "c90d08ccfa2e3e9a78cf7dfd79bca6e64060bb7a1bbc146f21a974f50367084c",
    ),
    (
        "celery.worker.consumer.consumer",
        "Consumer",
        "on_send_event_buffered",
        "0429cadc8bf9dc54afe6a47a9e277e9afb01a133c54ee54343608a968ccbcc16",
    ),
    (
        "celery.worker.consumer.consumer",
        "Consumer",
        "_flush_events",
        "2f39dd2416515bf0521151ebfa50f3c6bf6ec1e0648089a24ae5a914bfa56df0",
    ),
]


@pytest.fixture
def repaired() -> None:
    celery_patches.install()


def upstream_source(module: str, owner: str, name: str) -> str:
    """Return a method's source as upstream ships it, whether or not our repair stands in its place by now."""
    text = inspect.getsource(import_module(module))
    (found,) = (
        function
        for kind in ast.walk(ast.parse(text))
        if isinstance(kind, ast.ClassDef) and kind.name == owner
        for function in kind.body
        if isinstance(function, ast.FunctionDef) and function.name == name
    )
    return "".join(text.splitlines(keepends=True)[found.lineno - 1 : found.end_lineno])


@pytest.mark.parametrize(
    ("module", "owner", "name", "digest"), LOOKED_AT, ids=lambda value: value if len(value) < 60 else ""
)
def test_upstream_is_what_it_was_when_it_was_repaired(module: str, owner: str, name: str, digest: str) -> None:
    found = hashlib.sha256(upstream_source(module, owner, name).encode()).hexdigest()
    assert found == digest, (
        f"{module}.{owner}.{name} has changed upstream. Look whether its repair in workers/celery_patches.py can go: "
        f"if not, see that it still fits and write the new digest here: {found}"
    )


def test_laying_the_repairs_twice_changes_nothing(repaired: None) -> None:
    celery_patches.install()
    assert Channel._connparams is celery_patches.connparams
    assert DjangoWorkerFixup.close_database is celery_patches.close_database
    assert celery_patches._connparams is not celery_patches.connparams


def test_a_closed_channel_is_a_lost_connection_and_not_a_defect_of_python(
    repaired: None, services: embedded.Services
) -> None:
    link = kombu.Connection(services.broker_url)
    channel = link.channel()
    link.close()
    assert channel.connection is None, "the repair is for what kombu leaves behind; perhaps it leaves it no more"
    with pytest.raises(BrokerGoneError, match="closed"):
        channel._connparams()


def test_an_open_channel_is_told_its_parameters_as_before(repaired: None, services: embedded.Services) -> None:
    with kombu.Connection(services.broker_url) as link:
        assert link.channel()._connparams()["port"] == link.port


def test_a_database_connection_that_can_be_used_is_kept_between_tasks(db: None, repaired: None) -> None:
    fixup = DjangoWorkerFixup(Celery("nobody", set_as_current=False))
    before = backend()
    fixup.close_database()
    fixup.close_database()
    assert backend() == before


def test_a_database_connection_that_died_is_replaced_between_tasks(db: None, repaired: None) -> None:
    fixup = DjangoWorkerFixup(Celery("nobody", set_as_current=False))
    before = backend()
    connection.connection.close()
    connection.errors_occurred = True  # what Django notes once a statement has failed
    fixup.close_database()
    assert backend() != before


def test_task_events_are_gathered_and_leave_together(repaired: None) -> None:
    hub, left = Hub(), []

    class Eventful:
        """As much of Celery's consumer as gathers events."""

        on_send_event_buffered = Consumer.on_send_event_buffered

        def __init__(self) -> None:
            self.hub = hub

        def _flush_events(self) -> None:
            left.append("events")

    consumer = Eventful()
    for _ in range(3):
        consumer.on_send_event_buffered()
    assert (len(hub.timer.queue), left) == (1, []), "one timer for all of them"
    hub.timer.clear()  # as Celery does when the broker is lost
    assert wait_until(lambda: [consumer.on_send_event_buffered(), len(hub.timer.queue)][-1] == 1, within_s=5)
    assert wait_until(lambda: [hub.fire_timers(), bool(left)][-1], within_s=5)


def backend() -> int:
    """Return the process id of the PostgreSQL session that answers."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    return int(pid)
