"""A built-in catalogue served over the AuthZEN Authorization API 1.0: the frame that Governance and Subscription fill.

A question is a read of one tenant's standing: asked twice, it is answered twice, and needs no Idempotency-Key.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import JsonResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import problems
from apps.core.asked import bad_field
from apps.core.authzen import Answer, DecisionPoint, Question
from apps.core.authzen_wire import (
    EVALUATION,
    EVALUATIONS,
    MalformedError,
    body_of,
    cut,
    evaluations_of,
    question_of,
)
from apps.tenancy.authentication import principal_of
from apps.tenancy.context import in_tenant
from apps.tenancy.permissions import tenant_or_404
from apps.tenancy.principals import ServicePrincipal

SCOPE = "decisions:evaluate"


class CatalogueView(APIView):
    """What both addresses of a point share; `catalogue` answers."""

    required_scopes: ClassVar[dict[str, str]] = {"POST": SCOPE}
    catalogue: ClassVar[DecisionPoint]

    def answer(self, body: Any, *, principal: ServicePrincipal) -> dict[str, Any]:
        """Return the answer to one evaluation; raises `MalformedError`, and 404 for another's tenant."""
        question = question_of(body)
        tenant_or_404(principal, question.tenant_id)
        return body_of(self._decided(question))

    def _decided(self, question: Question) -> Answer:
        with in_tenant(question.tenant_id):
            return self.catalogue.evaluate(question)


class Evaluation(CatalogueView):
    """One question."""

    @extend_schema(
        request={"application/json": dict},
        responses={200: dict},
        tags=["decision points"],
        description="AuthZEN 1.0 access evaluation, answered by the built-in catalogue.",
    )
    def post(self, request: Request) -> Response:
        """Answer one evaluation."""
        try:
            return Response(self.answer(request.data, principal=principal_of(request)))
        except MalformedError as error:
            raise bad_field(error.field, error.message) from error


class Evaluations(CatalogueView):
    """Many questions."""

    @extend_schema(
        request={"application/json": dict},
        responses={200: dict},
        tags=["decision points"],
        description="AuthZEN 1.0 access evaluations: answered in order; one that cannot be answered is a no, and its "
        "`context.error` says why.",
    )
    def post(self, request: Request) -> Response:
        """Answer a batch of evaluations."""
        try:
            asked, semantic = evaluations_of(request.data)
        except MalformedError as error:
            raise bad_field(error.field, error.message) from error
        principal = principal_of(request)
        return Response(
            {"evaluations": cut([self._one(each, principal=principal) for each in asked], semantic=semantic)}
        )

    def _one(self, body: Any, *, principal: ServicePrincipal) -> dict[str, Any]:
        try:
            return self.answer(body, principal=principal)
        except MalformedError as error:
            return {"decision": False, "context": {"error": {"status": 400, "message": str(error)}}}
        except problems.NotFound:
            return {"decision": False, "context": {"error": {"status": 404, "message": "there is no such tenant"}}}


def configuration(request: Any, base: str) -> JsonResponse:
    """Return the metadata of the point below `base`, by the address it was asked at."""
    point = request.build_absolute_uri(f"/{base}")
    return JsonResponse(
        {
            "policy_decision_point": point,
            "access_evaluation_endpoint": point + EVALUATION,
            "access_evaluations_endpoint": point + EVALUATIONS,
        }
    )
