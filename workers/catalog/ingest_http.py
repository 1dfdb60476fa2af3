"""`ingest.http`: a file of the world's becomes a file of the tenant's, when it is another than last time.

What it said of itself (ETag, Last-Modified) is kept beside the file, so that the next job asks whether it changed. The
file is replaced whole: a transfer that breaks changes nothing, and the next attempt begins it again.
"""

import hashlib
import http.client
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from apps.jobs.types import Context, MissingFileError, PermanentError, RetryableError, job_type
from workers.catalog import outbound, surroundings

CHUNK_BYTES = 256 * 1024
LARGEST_BYTES = 2 * 1024 * 1024 * 1024
USUAL_BYTES = 256 * 1024 * 1024


@job_type(
    "ingest.http",
    params={
        "type": "object",
        "additionalProperties": False,
        "required": ["url", "target"],
        "properties": {
            "url": outbound.URL,
            "target": {
                "type": "string",
                "minLength": 1,
                "maxLength": 900,
                "description": "Where the file goes: a path in the tenant's storage, such as incoming/rain.csv.",
            },
            "max_bytes": {
                "type": "integer",
                "minimum": 1,
                "maximum": LARGEST_BYTES,
                "default": USUAL_BYTES,
                "description": "A larger file is refused.",
            },
            "bearer_secret": {
                "type": "string",
                "pattern": surroundings.SECRET_PATTERN,
                "maxLength": 64,
                "description": "The name of the tenant's secret to send as a bearer token.",
            },
        },
        "examples": [{"url": "https://example.org/rain.csv", "target": "incoming/rain.csv"}],
    },
    timeout_s=1800,
)
def ingest(ctx: Context, params: Mapping[str, Any]) -> None:
    """Fetch a file by HTTP into the tenant's storage, unless it is there and unchanged."""
    url, target, notes = params["url"], params["target"], f"{params['target']}.http.json"
    known = _known(ctx, target=target, notes=notes, url=url)
    headers = {}
    if "bearer_secret" in params:
        token = surroundings.secret(tenant_id=ctx.tenant_id, name=params["bearer_secret"])
        headers["Authorization"] = f"Bearer {token}"
    if known.get("etag"):
        headers["If-None-Match"] = known["etag"]
    elif known.get("last_modified"):
        headers["If-Modified-Since"] = known["last_modified"]
    with outbound.request(url, grant=surroundings.grant(tenant_id=ctx.tenant_id), headers=headers) as response:
        unchanged = response.status == HTTPStatus.NOT_MODIFIED and bool(known)
        if not unchanged:
            if response.status != HTTPStatus.OK:
                outbound.refuse(response)
            size = _fetch(ctx, response, target=target, most=params.get("max_bytes", USUAL_BYTES))
            said = {"etag": response.headers.get("ETag"), "last_modified": response.headers.get("Last-Modified")}
            with ctx.open(notes, "w") as file:
                json.dump({"url_digest": _digest(url), **said, "digest": ctx.storage.digest(target)}, file)
            ctx.metric("bytes", size)
    ctx.metric("unchanged", int(unchanged))
    ctx.artifact("file", target)
    ctx.log("unchanged" if unchanged else "fetched")


def _known(ctx: Context, *, target: str, notes: str, url: str) -> dict[str, Any]:
    """Return what is known of the file that is there: nothing where it is not the one that was fetched from `url`."""
    try:
        with ctx.open(notes, "r") as file:
            found = json.load(file)
        # A worker may have died between the file and its notes: they count only where they belong together.
        return found if found["url_digest"] == _digest(url) and found["digest"] == ctx.storage.digest(target) else {}
    except (MissingFileError, ValueError, KeyError, TypeError):
        return {}


def _digest(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()


def _fetch(ctx: Context, response: http.client.HTTPResponse, *, target: str, most: int) -> int:
    """Write the response's body to the target and return its size."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise PermanentError("the host encodes the file although none was asked for", code="encoded")
    due = response.headers.get("Content-Length")
    size, total = 0, int(due) if due is not None and due.isdigit() else None
    if total is not None and total > most:
        raise PermanentError(f"the file has more than {most} bytes", code="too_large")
    with ctx.open(target, "wb") as file:
        while chunk := _chunk(response):
            size += len(chunk)
            if size > most:
                raise PermanentError(f"the file has more than {most} bytes", code="too_large")
            file.write(chunk)
            ctx.progress(size, total)
            ctx.checkpoint()
        if total is not None and size != total:
            raise RetryableError("the transfer broke off", code="cut_off")
    return size


def _chunk(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(CHUNK_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise RetryableError("the transfer broke off", code="cut_off") from error
