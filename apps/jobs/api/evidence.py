"""A run's receipt over HTTP."""

from __future__ import annotations

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.evidence import keys, receipts
from apps.evidence.api import ReceiptFields
from apps.evidence.logs import Log
from apps.jobs.api.reading import IN_TENANT, found


class Receipt(APIView):
    """A run's receipt."""

    required_scopes: ClassVar[dict[str, str]] = {"GET": "evidence:read"}

    @extend_schema(
        operation_id="jobs_evidence",
        parameters=[IN_TENANT],
        responses=ReceiptFields,
        tags=["jobs", "evidence"],
        description="A run's receipt: admission, outcome and whatever else is recorded of it, signed, each proven under"
        " one checkpoint. Kept as a file, docs/verify_evidence.py checks it without this plane.",
    )
    def get(self, request: Request, job_id: str) -> Response:
        """Read a run's receipt."""
        with found(request, job_id) as job:
            log = Log(job.tenant_id, job.region)
            body = receipts.receipt(subject_id=str(job.job_id), log=log, ring=keys.ring())
        return Response(body)
