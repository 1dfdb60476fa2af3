"""Whose rows may be seen: the tenant context, and managers that refuse to answer outside of one.

Two walls. The first is here: a tenant-owned model's manager raises unless a context is open, and filters by it. The
second is PostgreSQL's row-level security (`rls.py`), which reads the same tenant from the session and holds where raw
SQL goes around the manager. Both fail closed: no context, no rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from enum import Enum
from typing import TypeVar

from django.conf import settings
from django.db import connection, models, transaction

from apps.core.database import preparing


class NoTenantContextError(RuntimeError):
    """A tenant-owned model was asked outside a tenant context."""


class Everyone(Enum):
    """The context of loops and operators, who work across tenants under a database role of their own."""

    EVERYONE = "everyone"


EVERYONE = Everyone.EVERYONE
_scope: ContextVar[str | Everyone | None] = ContextVar("ops_tenant_scope", default=None)


def _enter(scope: str | Everyone) -> Token[str | Everyone | None]:
    """Open `scope`, unless another is open: a context is neither changed nor widened from inside."""
    held = _scope.get()
    if held is not None and held != scope:
        raise NoTenantContextError(f"a context of {held!r} is open: {scope!r} cannot be entered inside it")
    return _scope.set(scope)


def current_tenant() -> str | Everyone | None:
    """Return whose rows this flow of control may see: a tenant id, `EVERYONE`, or None for nobody's."""
    return _scope.get()


@contextmanager
def in_tenant(tenant_id: str) -> Iterator[None]:
    """Open a transaction in which only `tenant_id`'s rows exist. Contexts do not nest across tenants.

    `set_config(…, true)` is undone by the transaction's end, so a reused connection carries nobody into the next
    request (afterwards it reads '' rather than NULL: the policies treat both as nobody).
    """
    token = _enter(tenant_id)
    try:
        with transaction.atomic():
            with preparing() as cursor:
                cursor.execute("SELECT set_config('ops.tenant', %s, true)", [tenant_id])
            yield
    finally:
        _scope.reset(token)


@contextmanager
def across_tenants() -> Iterator[None]:
    """Work across tenants in a process whose database role is made for that (`ops_control`).

    Under any other role row-level security still answers with no rows: this context lifts only the first wall.
    """
    token = _enter(EVERYONE)
    try:
        yield
    finally:
        _scope.reset(token)


@contextmanager
def operator_reading() -> Iterator[None]:
    """Open a transaction in the `ops_operator` role: a signed-in person reads across tenants and writes configuration.

    Not inside a tenant's context: the role lasts until the outermost transaction ends, and would stay with the tenant.
    """
    token = _enter(EVERYONE)
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL ROLE ops_operator")
            yield
    finally:
        _scope.reset(token)


@contextmanager
def only_reading(tenant_id: str, *, as_operator: bool = False) -> Iterator[None]:
    """Open a transaction of `tenant_id`'s rows in which PostgreSQL refuses every write; for people's own pages.

    `as_operator`: in the operator's role, whom row-level security shows every tenant; so questions name theirs.
    """
    with operator_reading() if as_operator else in_tenant(tenant_id):
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION READ ONLY")
        yield


@contextmanager
def acting_for(tenant_id: str) -> Iterator[None]:
    """Inside `operator_reading`, do one tenant's write under the app role, as that tenant's own caller would."""
    token = _scope.set(tenant_id)
    role = f"ops_{settings.ENVIRONMENT.database_role}"
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('role', %s, true), set_config('ops.tenant', %s, true)",
                [role, tenant_id],
            )
            yield
            cursor.execute("SELECT set_config('role', 'ops_operator', true), set_config('ops.tenant', '', true)")
    finally:
        _scope.reset(token)


Owned = TypeVar("Owned", bound=models.Model)


class TenantManager(models.Manager[Owned]):
    """The manager of a tenant-owned model: fails closed outside a context, filters by it inside one."""

    def get_queryset(self) -> models.QuerySet[Owned]:
        """Return the rows of the current context's tenant; raise `NoTenantContextError` where there is none."""
        scope = _scope.get()
        if scope is None:
            raise NoTenantContextError(
                f"{self.model.__name__} belongs to tenants: open `in_tenant(…)` (or `across_tenants()` in a loop) first"
            )
        rows = super().get_queryset()
        return rows if scope is EVERYONE else rows.filter(tenant_id=scope)
