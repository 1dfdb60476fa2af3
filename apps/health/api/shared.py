"""What health's addresses have in common: whose components a caller may see, and which of them a policy withholds."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import Q
from rest_framework.request import Request

from apps.core import problems
from apps.governance.queries import Prohibition, prohibitions
from apps.tenancy.authentication import principal_of
from apps.tenancy.permissions import tenant_or_404
from apps.tenancy.principals import AllTenants

TAGS = ["health"]
REPORT = "health.report"
READ = "health.read"


def tenant_of(request: Request, *, named: str | None) -> str | None:
    """Return the tenant a request is about; None: the platform's token names none, and means everybody's.

    404 for a tenant outside the token, 400 where it names several and the request none.
    """
    principal = principal_of(request)
    if named is None and isinstance(principal.tenants, AllTenants):
        return None
    return tenant_or_404(principal, named)


def visible(tenant_id: str | None) -> Q:
    """Return which rows may be seen: the platform's own and the tenant's; for the platform, every one."""
    return Q() if tenant_id is None else Q(tenant_id=None) | Q(tenant_id=tenant_id)


def withheld(tenant_id: str | None, classifications: Sequence[str]) -> set[str]:
    """Return which classifications a standing policy withholds from the tenant: it forbids `health.read.<one>`."""
    if tenant_id is None:
        return set()
    found = prohibitions(tenant_id=tenant_id, names=[f"{READ}.{each}" for each in classifications])
    return {name.removeprefix(f"{READ}.") for name in found}


def refused(found: Prohibition) -> problems.Problem:
    """Return the problem of what a policy forbids."""
    return problems.Forbidden(found.reason, code=found.reason_code, policy=found.policy_id)
