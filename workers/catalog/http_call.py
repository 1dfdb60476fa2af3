"""`http.call`: a module's own endpoint does the work; it is called, signed, and asked again while it says "not yet".

Whoever does not like to be asked so often calls back when it is done, at the address that the call names: the next
attempt is then made at once.

The signature is Standard Webhooks' (webhook-id, webhook-timestamp, webhook-signature), and the id is the job's: however
often the call is made, the module sees one. While it answers 202 the job waits in `retrying`, without a slot, and the
next attempt makes the same call again, not before the module's Retry-After.
"""

import http.client
import json
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from apps.core import standard_webhooks
from apps.jobs.callbacks import NOT_YET
from apps.jobs.types import Context, PermanentError, Retry, RetryableError, job_type
from workers.catalog import outbound, surroundings

MOST_ANSWER_BYTES = 1024 * 1024


@job_type(
    "http.call",
    params={
        "type": "object",
        "additionalProperties": False,
        "required": ["url", "secret"],
        "properties": {
            "url": outbound.URL,
            "secret": {
                "type": "string",
                "pattern": surroundings.SECRET_PATTERN,
                "maxLength": 64,
                "description": "The name of the tenant's secret (whsec_…) that signs the call.",
            },
            "body": {"type": "object", "description": "What the call says: references and settings."},
        },
        "examples": [{"url": "https://module.example.org/jobs", "secret": "module", "body": {"dataset": "rain"}}],
    },
    # A wait is an attempt: as many as it takes, by the module's own pauses.
    retry=Retry(max_attempts=20, initial_s=5, cap_s=300),
    timeout_s=300,
)
def call(ctx: Context, params: Mapping[str, Any]) -> None:
    """Call a module's endpoint by a signed request, again while it answers 202, and keep what it answers."""
    said = {
        "job_id": ctx.job_id,
        "tenant_id": ctx.tenant_id,
        "body": params.get("body", {}),
        **surroundings.callback(tenant_id=ctx.tenant_id, job_id=ctx.job_id),
    }
    body = json.dumps(said, separators=(",", ":")).encode()
    key = surroundings.secret(tenant_id=ctx.tenant_id, name=params["secret"])
    headers = {
        "Content-Type": "application/json",
        **signature(body, message_id=ctx.job_id, secret=key, at=int(time.time())),
    }
    place = surroundings.grant(tenant_id=ctx.tenant_id)
    with outbound.request(params["url"], grant=place, method="POST", body=body, headers=headers) as response:
        if response.status == HTTPStatus.ACCEPTED:
            pause_s = outbound.retry_after(response)
            raise RetryableError("the module has not finished yet", code=NOT_YET, retry_after_s=pause_s)
        if response.status not in {HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.NO_CONTENT}:
            outbound.refuse(response)
        answer = _answer(response)
    path = f"results/{ctx.job_id}/answer"
    with ctx.open(path, "wb") as file:
        file.write(answer)
    ctx.artifact("answer", path)
    ctx.metric("bytes", len(answer))
    ctx.log("answered", status=int(response.status))


def signature(body: bytes, *, message_id: str, secret: str, at: int) -> dict[str, str]:
    """Return the headers that sign `body`."""
    try:
        return standard_webhooks.signed(body, message_id=message_id, secrets=[secret], at=at)
    except standard_webhooks.BadSecretError:
        raise PermanentError("the secret that signs the call is not base64", code="bad_secret") from None


def _answer(response: http.client.HTTPResponse) -> bytes:
    try:
        answer = response.read(MOST_ANSWER_BYTES + 1)
    except (OSError, http.client.HTTPException) as error:
        raise RetryableError("the answer broke off", code="cut_off") from error
    if len(answer) > MOST_ANSWER_BYTES:
        raise PermanentError(
            f"the answer has more than {MOST_ANSWER_BYTES} bytes: write data to storage", code="too_large"
        )
    return answer
