"""The suite's database as a test has it: open to it and swept behind it, under one role or another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from django.conf import settings
from django.db import connection
from pytest_django import DjangoDbBlocker

from opsplatform.settings.environment import DatabaseRole, database_parameters
from tests.support.broom import Broom

InRole = Callable[[DatabaseRole], AbstractContextManager[None]]


@contextmanager
def swept(blocker: DjangoDbBlocker, broom: Broom) -> Iterator[None]:
    """Open the database; what is committed meanwhile is swept away behind it."""
    with blocker.unblock():
        try:
            yield
        finally:
            connection.close()
            broom.sweep()


@contextmanager
def entering(role: DatabaseRole) -> Iterator[None]:
    """Connect under another database role, as that role's processes do."""
    before = dict(connection.settings_dict)
    connection.close()
    connection.settings_dict.update(database_parameters(url=settings.ENVIRONMENT.database_url, role=role))
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.update(before)
