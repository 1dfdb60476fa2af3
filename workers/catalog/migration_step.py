"""`migration.step`: one step of a migration on one target. Submitted by the plane alone, as part of a campaign.

What a step may rely on: docs/migration-steps.md. The work itself is `workers.migrations`: it speaks to targets'
databases, which no other job type does but `ingest.postgres`.
"""

from collections.abc import Mapping
from typing import Any

from apps.jobs.types import Context, Retry, job_type

_WORD = {"type": "string", "minLength": 1, "maxLength": 64}
_CHECKSUM = {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}
_UUID = {"type": "string", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"}


@job_type(
    "migration.step",
    params={
        "type": "object",
        "additionalProperties": False,
        "required": ["migration", "account", "definition", "target", "step", "direction", "run"],
        "properties": {
            "migration": {**_UUID, "description": "The campaign."},
            # Another tenant's name may be: the target's own tenant, whose job this is, is not told it.
            "account": {
                **_WORD,
                "writeOnly": True,
                "description": "The tenant on whose account the campaign runs.",
            },
            "definition": {
                "type": "object",
                "additionalProperties": False,
                "required": ["name", "from", "to", "checksum"],
                "properties": {"name": _WORD, "from": _WORD, "to": _WORD, "checksum": _CHECKSUM},
            },
            "target": {"type": "string", "minLength": 1, "maxLength": 128, "description": "The target's key."},
            "step": _WORD,
            "direction": {"enum": ["up", "down"]},
            "run": {
                "type": "integer",
                "minimum": 0,
                "maximum": 2**30,
                "description": "How often the plane has begun this step on this target.",
            },
            "sets_version": {**_WORD, "description": "What the target is to say it is at, once the step is done."},
        },
        "examples": [
            {
                "migration": "01890000-0000-7000-8000-000000000000",
                "account": "platform",
                "definition": {"name": "crm", "from": "1.4", "to": "1.5", "checksum": "sha256:" + "0" * 64},
                "target": "acme",
                "step": "add_region",
                "direction": "up",
                "run": 1,
            }
        ],
    },
    contract="none",
    retry=Retry(max_attempts=5, initial_s=5, cap_s=60),
    timeout_s=3600,
    heartbeat_s=60,
    internal=True,
)
def step(ctx: Context, params: Mapping[str, Any]) -> None:
    """Do or undo one step of a migration on one target, exactly once."""
    from workers.migrations.run import run  # noqa: PLC0415 - it knows psycopg, and the plane's own registry

    run(ctx, params)
