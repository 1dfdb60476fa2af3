"""Who decides: the built-in catalogues, or the AuthZEN decision points that the environment names."""

from __future__ import annotations

from apps.core.authzen import DecisionPoint
from apps.core.authzen_client import Outage, RemotePoint
from apps.core.authzen_http import Transport
from apps.core.clock import system_now
from apps.governance.catalogue import Catalogue as GovernanceCatalogue
from apps.jobs.operations.ruling import DecisionPoints
from apps.subscription.catalogue import Catalogue as SubscriptionCatalogue
from apps.tenancy import tokens
from apps.tenancy.authzen import SCOPE
from opsplatform.settings.environment import Environment

SUBJECT = "operations"
TOKEN_LIVES_S = 120

# Governance's yes outlives an outage only as long as it says itself. Subscription's last known limits are good for five
# minutes and a thousand jobs of a tenant (in each process), where its answers do not say otherwise.
OUTAGES = {"governance": Outage(), "subscription": Outage(stale_s=300, most=1_000)}


def chosen(environment: Environment) -> DecisionPoints:
    """Return the decision points that are to be asked."""
    governance: DecisionPoint = GovernanceCatalogue()
    subscription: DecisionPoint = SubscriptionCatalogue()
    if environment.governance_url:
        governance = remote("governance", url=environment.governance_url)
    if environment.subscription_url:
        subscription = remote("subscription", url=environment.subscription_url)
    return DecisionPoints(governance=governance, subscription=subscription)


def remote(name: str, *, url: str, audience: str | None = None) -> RemotePoint:
    """Return the client of the point `name` at `url`; its tokens are for `audience`, the point's own name if unsaid."""

    def token() -> str:
        return tokens.issue(
            subject=SUBJECT,
            tenants=["*"],
            scopes=[SCOPE],
            now=system_now(),
            ttl_s=TOKEN_LIVES_S,
            audience=audience or name,
        )

    return RemotePoint(name=name, transport=Transport(url=url, token=token), outage=OUTAGES[name])
