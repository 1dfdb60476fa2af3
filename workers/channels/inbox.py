"""The in-app inbox: rows beside the notification, written with the decision. Nothing is spoken to."""

from __future__ import annotations

from apps.notifications.kinds import INBOX, Kind, Message, Settings
from apps.notifications.lifecycle import Answer


def send(_message: Message, _settings: Settings) -> Answer:
    """Say that there is nothing to do: the items are there already."""
    return Answer(accepted=True)


KIND = Kind(name=INBOX, title="In-app inbox", fields=(), send=send, provider=lambda _: "the plane itself", passive=True)
