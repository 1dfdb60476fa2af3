"""`dataset.promote`: a dataset becomes the published one, by one swap of a pointer; and can be taken back.

    published/<dataset>/versions/<job id>/data.parquet    what was promoted, never written again
    published/<dataset>/current.json                      which version counts, and those before it

Readers read the pointer, then the version it names: they see the old or the new, never half of one.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from apps.jobs.storage import CHUNK_BYTES
from apps.jobs.types import Context, Limits, MissingFileError, PermanentError, job_type
from workers.catalog.datasets import NAME_PATTERN, dataset_path

MOST_KEPT = 50  # versions the pointer remembers; the files of older ones stay


@job_type(
    "dataset.promote",
    params={
        "type": "object",
        "additionalProperties": False,
        "required": ["dataset"],
        "properties": {
            "dataset": {"type": "string", "pattern": NAME_PATTERN, "description": "The dataset's name."},
            "digest": {
                "type": "string",
                "pattern": "^sha256:[0-9a-f]{64}$",
                "description": "The digest of what was checked: anything else is not promoted.",
            },
            "back_to": {
                "type": "string",
                "format": "uuid",
                "description": "A version promoted before (the id of the job that did) to make the current one again.",
            },
        },
        "examples": [{"dataset": "seattle-weather"}],
    },
    # The pointer is read, then replaced: of one tenant's promotions one runs at a time.
    limits=Limits(running_per_tenant=1),
    timeout_s=1800,
)
def promote(ctx: Context, params: Mapping[str, Any]) -> None:
    """Publish a dataset as a new version, or make an earlier version the current one again; the swap is atomic."""
    name = params["dataset"]
    pointer = f"published/{name}/current.json"
    history = _history(ctx, pointer)
    done = next((each for each in history if each["job_id"] == ctx.job_id), None)
    if done is not None:
        ctx.log("already promoted by an attempt before", version=done["version"])
        entry = done
    elif "back_to" in params:
        entry = _earlier(ctx, history, version=params["back_to"], digest=params.get("digest"))
    else:
        entry = _copied(ctx, name=name, digest=params.get("digest"))
    if done is None:
        ctx.checkpoint()
        with ctx.open(pointer, "w") as file:
            json.dump({"dataset": name, "current": entry, "history": [entry, *history][:MOST_KEPT]}, file, indent=1)
    ctx.artifact("dataset", entry["path"])
    ctx.artifact("pointer", pointer)
    ctx.metric("bytes", entry["bytes"])
    ctx.log("promoted", version=entry["version"])


def _history(ctx: Context, pointer: str) -> list[dict[str, Any]]:
    """Return what was promoted, newest first; nothing for a dataset that never was."""
    try:
        with ctx.open(pointer, "r") as file:
            return list(json.load(file)["history"])
    except MissingFileError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        raise PermanentError("the published dataset's pointer is not what it should be", code="bad_pointer") from error


def _copied(ctx: Context, *, name: str, digest: str | None) -> dict[str, Any]:
    """Copy the dataset to the version of this job; the same again if an attempt before was cut off."""
    path, sha256, size = f"published/{name}/versions/{ctx.job_id}/data.parquet", hashlib.sha256(), 0
    with ctx.open(dataset_path(name), "rb") as source, ctx.open(path, "wb") as target:
        while chunk := source.read(CHUNK_BYTES):
            sha256.update(chunk)
            size += len(chunk)
            target.write(chunk)
            ctx.checkpoint()
        found = f"sha256:{sha256.hexdigest()}"
        if digest is not None and found != digest:
            raise PermanentError("the dataset is another than the one that was checked", code="digest_differs")
    return {"version": ctx.job_id, "job_id": ctx.job_id, "path": path, "digest": found, "bytes": size}


def _earlier(ctx: Context, history: list[dict[str, Any]], *, version: str, digest: str | None) -> dict[str, Any]:
    """Return an earlier version, whose file must still be what it was."""
    entry = next((each for each in history if each["version"] == version), None)
    if entry is None:
        raise PermanentError("that version of the dataset was not promoted", code="version_unknown")
    if ctx.storage.describe(entry["path"]).digest != (digest or entry["digest"]):
        raise PermanentError("that version's file is not what was promoted", code="digest_differs")
    return {**entry, "job_id": ctx.job_id}
