"""Over a hundred more services, by Apprise: chat, push and SMS, each to a host that the service's own plugin fixes.

Apprise speaks by its own client, not by ours. So only schemes are let through whose plugin names the host itself: none
that would let an address inside be asked (json://, xml://, ntfy://<host>), none that touches this machine (syslog,
dbus, exec), none that is spoken to in another way than by HTTP, and none that reads a key from a file. Redirects are
off, and so are templates (they are files), storage, plugin paths and attachments. Addresses are an operator's, typed
in the admin, and sealed.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from apps.notifications import wording
from apps.notifications.kinds import BadSettingError, Field, Kind, Message, Settings
from apps.notifications.lifecycle import Answer

SCHEMES: Final = frozenset(
    """
    46elks acs atalk awswhatsapp bale brevo bulksms bulkvs burstsms chanify clickatell clicksend cliq cm d7sms
    dingtalk discord dot eight00com elks exotel feishu firehydrant flock freemobile gchat groundmail groupme
    guilded gupshup httpsms ifttt ilert incidentio jira join kakao kakaotalk kaleyra kavenegar klr kook kudosity
    kumulos lark lauther lfg line mailersend mobilemessage mobilemsg msg91 msgbird nexmo notifiarr notifyre o365
    octopush onesignal opsgenie pagertree pbul pingram plivo postmark pover prowl psafer psafers push pushed pushme
    pushplus pushy qq resend revolt ringc ryver schan sendgrid serwersms ses seven sfr signalgrid signl4 simplepush
    sinch smsc smsmanager smsmgr smstunnel sns spike splunk spugpush spush squadcast stackfield strmlabs telesign
    telnyx tgram threema twilio twist viber victorops voipms vonage webex wecom wecombot whapi whatsapp wpush
    wxpusher wxteams youlmk zalo zcliq zohocliq zoom
    """.split()  # noqa: SIM905 - as a list it is a hundred lines
)
# What a URL may not say: that certificates are not looked at, that redirects are followed, a file to be read, its own
# retries (the notifier's are on the clock).
FORBIDDEN: Final = frozenset({"verify", "redirect", "template", "retry", "wait", "rto", "cto", "store", "keyfile"})
TOTAL_S: Final = 15.0


def send(message: Message, settings: Settings) -> Answer:
    """Send one message and return what came of it: Apprise says whether, seldom why."""
    import apprise  # noqa: PLC0415 - 250 plugins, of use to the notifier alone

    if urlsplit(settings["url"]).scheme.lower() not in SCHEMES:
        return Answer(accepted=False, error="scheme_not_allowed", permanent=True)
    service = apprise.Apprise(asset=_asset())
    if not service.add(settings["url"]):
        return Answer(accepted=False, error="bad_url", permanent=True)
    result = service.notify(
        title=wording.subject(message), body=wording.text(message), body_format="text", timeout=TOTAL_S
    )
    return Answer(accepted=True) if result else Answer(accepted=False, error="not_taken")


def check(settings: Settings) -> None:
    """Refuse schemes that are not on the list, and what loosens a plugin; raises `BadSettingError`."""
    try:
        parts = urlsplit(settings["url"])
    except ValueError:
        raise BadSettingError("url", "an Apprise URL such as tgram://token/chat would be right") from None
    if parts.scheme.lower() not in SCHEMES:
        raise BadSettingError("url", f"one of these schemes would be right: {', '.join(sorted(SCHEMES))}")
    # A name may begin with + - or :, and + reads as a space.
    names = {name.lower().strip("+-: ") for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    loose = names & FORBIDDEN
    if loose:
        raise BadSettingError("url", f"it may not say {', '.join(sorted(loose))}")


@cache
def _asset() -> Any:
    """Return what Apprise may do: nothing beside sending."""
    import apprise  # noqa: PLC0415 - as above

    return apprise.AppriseAsset(
        app_id="Platform Operations",
        app_desc="Platform Operations",
        plugin_paths=[],
        storage_mode=apprise.PersistentStoreMode.MEMORY,
        allow_templates=False,
        http_redirects=False,
        async_mode=False,
        secure_logging=True,
        service_timeout=TOTAL_S,
        image_path_mask=False,
    )


KIND = Kind(
    name="apprise",
    title="Apprise (chat, push, SMS)",
    fields=(Field(name="url", says="an Apprise URL such as tgram://token/chat", secret=True),),
    send=send,
    provider=lambda settings: f"apprise:{urlsplit(settings['url']).scheme.lower()}",
    check=check,
    most=50,
    tested_by="url",
)
