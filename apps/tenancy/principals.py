"""Who is calling: a module of the platform, with what its token lets it do, or (seldom) a person. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import ClassVar, Final

SCOPES: Final = frozenset(
    {
        "jobs:submit",
        "jobs:read",
        "jobs:control",
        "health:report",
        "health:read",
        "notify:send",
        "notify:read",
        "tickets:write",
        "tickets:read",
        "migrations:run",
        "migrations:approve",
        "migrations:read",
        "evidence:read",
        "events:read",
        "webhooks:write",
        "decisions:evaluate",
        "metrics:read",
    }
)
# Who may change tickets may read them; who may run migrations, or hear of those that wait for a person, likewise.
INCLUDED_IN: Final = {
    "tickets:read": frozenset({"tickets:write"}),
    "migrations:read": frozenset({"migrations:run", "migrations:approve"}),
}
NONE: Final[frozenset[str]] = frozenset()


class AllTenants(Enum):
    """What a platform module's token says with `["*"]`."""

    ALL = "*"


ALL: Final = AllTenants.ALL
Tenants = frozenset[str] | AllTenants


@dataclass(frozen=True, kw_only=True)
class ServicePrincipal:
    """A calling module, as its verified token describes it; what DRF calls `request.user`."""

    issuer: str
    subject: str
    scopes: frozenset[str]
    tenants: Tenants
    token_id: str
    expires_at: datetime

    is_authenticated: ClassVar[bool] = True
    is_anonymous: ClassVar[bool] = False

    def __str__(self) -> str:
        return self.subject

    @property
    def caller(self) -> str:
        """Who calls and for whom, as one word: what shares are counted by."""
        tenants = "*" if isinstance(self.tenants, AllTenants) else ",".join(sorted(self.tenants))
        return f"{self.issuer} {self.subject} {tenants}"

    def may(self, scope: str) -> bool:
        """Return whether the token carries `scope`, or one that includes it."""
        return scope in self.scopes or not self.scopes.isdisjoint(INCLUDED_IN.get(scope, NONE))

    def may_act_for(self, tenant_id: str) -> bool:
        """Return whether the token was given for `tenant_id`."""
        return isinstance(self.tenants, AllTenants) or tenant_id in self.tenants

    @property
    def only_tenant(self) -> str | None:
        """The tenant, where the token names exactly one; a request may then leave it out."""
        if isinstance(self.tenants, AllTenants) or len(self.tenants) != 1:
            return None
        return next(iter(self.tenants))


@dataclass(frozen=True, kw_only=True)
class SignedInPerson(ServicePrincipal):
    """A person in a session, at one of the few addresses that ask for one; `subject` is their login name.

    `scopes` are those that their permissions stand for. Staff see every tenant, others none by this door.
    """
