"""The chapter of what goes wrong for good: somebody is told, by the inbox and by mail, and it is owed until it is well.

The mail server is a real one, on loopback, that the demo runs for as long as its plane lives.
"""

import contextlib
import email
import email.policy
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any, cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from opsplatform.demo import data
from opsplatform.demo.callers import Module
from opsplatform.demo.story import JOB_WITHIN_S, Stage
from opsplatform.embedded.server import random_port

TOLD_WITHIN_S = 20
RESOLVED_WITHIN_S = 30
ON_CALL = "on-call@example.org"
INBOX = "SELECT read_at FROM inbox_items WHERE notification_id = %s"


@dataclass
class Mailbox:
    """The on-call engineer's: what a mail server took, oldest first."""

    url: str = ""
    _mails: list[EmailMessage] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - its name
        """Take a mail."""
        mail = email.message_from_bytes(cast("bytes", envelope.content), policy=email.policy.default)
        with self._lock:
            self._mails.append(mail)
        return "250 OK"

    def about(self, notification_id: str) -> list[EmailMessage]:
        """Return the mails that tell of a notification."""
        with self._lock:
            return [each for each in self._mails if each["X-Operations-Notification"] == notification_id]


@contextlib.contextmanager
def mail_server() -> Iterator[Mailbox]:
    """Run a mail server."""
    logging.getLogger("mail.log").setLevel(logging.ERROR)
    mailbox = Mailbox()
    controller = Controller(mailbox, hostname="127.0.0.1", port=random_port())
    controller.start()
    mailbox.url = f"smtp://127.0.0.1:{controller.port}/?from=operations@example.org&to={ON_CALL}"
    try:
        yield mailbox
    finally:
        controller.stop()


def fail_for_good(stage: Stage, mailbox: Mailbox) -> None:
    """A job names a file that is not there: alert, mail, ticket; two good runs, and the ticket resolves itself."""
    stage.tell.chapter("A job fails for good: somebody is told, and it is owed until it is well")
    acme = stage.acme
    dataset = data.FILES[-1]  # the one that was ingested last: nothing else differs
    good = f"incoming/{dataset}.csv"
    bad = acme.accepted(type="ingest.file", params={"source": "incoming/mislaid.csv", "dataset": dataset})
    stage.failed.append(bad)
    error = _failed(stage, bad)
    stage.tell.say(f"ingest.file is sent to a file that is not there; the job fails for good: {error['message']}.")
    told = _alert(stage, acme)
    stage.tell.wait(
        lambda: bool(mailbox.about(told["notification_id"])), for_what="waiting for the mail", within_s=TOLD_WITHIN_S
    )
    (mail, *_) = mailbox.about(told["notification_id"])
    stage.tell.check(
        len(stage.witness.rows(INBOX, told["notification_id"])) > 0 and mail["To"] == ON_CALL,
        f"its alert is in the in-app inbox, and in a mailbox behind a real SMTP server: “{mail['Subject']}”",
    )
    ticket = _ticket(stage, acme, bad)
    whole = acme.get(f"/operations/tickets/{ticket['id']}")
    changes = whole["diff"]["changes"]
    stage.tell.table(
        ("what was different", "the last good run", "this run"),
        [(each["field"], each["good"], each["bad"]) for each in changes],
        left=frozenset({0, 1, 2}),
    )
    stage.tell.check(
        {each["field"] for each in changes} - {"worker"} == {"params.source"},
        f"one open ticket, “{whole['issue']}”, with the difference to the last good run: its source",
        seen=changes,
    )
    for _ in range(2):
        run = stage.submit(acme, type="ingest.file", params={"source": good, "dataset": dataset})
        stage.ended(acme, run)
    _resolved(stage, acme, ticket["id"])
    stage.tickets.append(ticket["id"])
    stage.tell.wait(
        lambda: len(mailbox.about(told["notification_id"])) > 1,
        for_what="waiting for the mail that it is over",
        within_s=TOLD_WITHIN_S,
    )
    stage.tell.true("who was told of it was told that it is over, and nobody else")


def _failed(stage: Stage, job_id: str) -> dict[str, Any]:
    job: dict[str, Any] = {}

    def over() -> bool:
        job.update(stage.acme.job(job_id).body)
        return job["outcome"] is not None

    stage.tell.wait(over, for_what=f"waiting for job {job_id}", within_s=JOB_WITHIN_S)
    stage.tell.check(job["outcome"] == "failed", f"job {job_id} failed", seen=job["outcome"])
    return dict(job["error"])


def _alert(stage: Stage, acme: Module) -> dict[str, Any]:
    found: list[dict[str, Any]] = []

    def there() -> bool:
        found[:] = acme.get("/operations/notifications?category=alert")["items"]
        return bool(found) and found[0]["status"] == "delivered"

    stage.tell.wait(there, for_what="waiting for the alert", within_s=TOLD_WITHIN_S)
    return found[0]


def _ticket(stage: Stage, acme: Module, job_id: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = []

    def there() -> bool:
        found[:] = acme.get(f"/operations/tickets?job_id={job_id}")["items"]
        return bool(found)

    stage.tell.wait(there, for_what="waiting for the ticket", within_s=TOLD_WITHIN_S)
    return found[0]


def _resolved(stage: Stage, acme: Module, ticket_id: str) -> None:
    ticket: dict[str, Any] = {}

    def there() -> bool:
        ticket.update(acme.get(f"/operations/tickets/{ticket_id}"))
        return bool(ticket["status"] == "resolved")

    stage.tell.wait(there, for_what="waiting for the ticket to resolve itself", within_s=RESOLVED_WITHIN_S)
    stage.tell.check(
        len(ticket["successes"]) == 2 and ticket["evidence"],  # noqa: PLR2004 - one success may be luck
        "the job type succeeded again, twice: the ticket resolved itself, with both runs' evidence, as evidence",
        seen=ticket["successes"],
    )
