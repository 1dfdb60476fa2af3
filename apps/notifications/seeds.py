"""What a fresh local plane tells to whom: everything to the in-app inbox, and mail to the operator where there is mail.

Laid once, by name: what an operator changed or took away stays so.
"""

from __future__ import annotations

from apps.core.email_url import parsed
from apps.core.ids import uuid7
from apps.notifications.models import Channel, Route
from apps.notifications.operations import channels
from apps.notifications.rules import INBOX_NAME

BY = "set-up"
MAIL = "operator-mail"
NOBODY_NAMED = "operator@localhost"


def lay(*, email_url: str) -> None:
    """Insert the operator's mail and the routes that lead to the inbox and to it, unless they were laid before."""
    mail = parsed(email_url)
    if not mail.configured or Channel.objects.filter(name=MAIL).exists():
        return
    channel = channels.create(
        name=MAIL, kind="email", settings={} if mail.to else {"to": NOBODY_NAMED}, per_minute=60, by=BY
    )
    inbox = Channel.objects.values_list("pk", flat=True).get(name=INBOX_NAME)
    rows = [
        Route(route_id=uuid7(), name="inbox", channel_id=inbox, goes_on=True, position=10, changed_by=BY),
        Route(route_id=uuid7(), name=MAIL, channel_id=channel, goes_on=True, position=20, changed_by=BY),
    ]
    Route.objects.bulk_create(rows, ignore_conflicts=True)
