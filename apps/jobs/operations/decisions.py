"""What the decision points answered about a job, as rows to be kept beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from apps.core.authzen import Answer

DECIDE = """
INSERT INTO decisions (decision_id, tenant_id, job_id, point, action, allowed, reason_code, reason, policy_revision,
       context, decided_at)
SELECT decision_id, tenant_id, job_id, point, action, allowed, reason_code, reason, policy_revision, context,
       coalesce(decided_at, clock_timestamp())
  FROM jsonb_to_recordset(%s) AS decided(
    decision_id uuid, tenant_id text, job_id uuid, point text, action text, allowed boolean, reason_code text,
    reason text, policy_revision text, context jsonb, decided_at timestamptz)
"""


def decision_rows(
    answers: Mapping[str, Answer],
    *,
    job_id: UUID,
    tenant_id: str,
    decided_at: datetime | None = None,
    action: str = "operations.submit",
) -> Sequence[dict[str, Any]]:
    """Return the answers as rows of `decisions`; decided when they are written where no other time is given."""
    return [
        {
            "decision_id": str(answer.decision_id),
            "tenant_id": tenant_id,
            "job_id": str(job_id),
            "point": point,
            "action": action,
            "allowed": answer.allowed,
            "reason_code": answer.reason_code,
            "reason": answer.reason,
            "policy_revision": answer.policy_revision,
            "context": answer.context(),
            "decided_at": decided_at,
        }
        for point, answer in answers.items()
    ]
