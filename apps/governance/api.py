"""The built-in catalogue of Governance over HTTP, as an AuthZEN 1.0 decision point."""

from __future__ import annotations

from typing import ClassVar

from drf_spectacular.utils import extend_schema, extend_schema_view

from apps.core.authzen import DecisionPoint
from apps.governance.catalogue import Catalogue
from apps.tenancy import authzen


@extend_schema_view(post=extend_schema(operation_id="governance_evaluation"))
class Evaluation(authzen.Evaluation):
    """One question to Governance."""

    catalogue: ClassVar[DecisionPoint] = Catalogue()


@extend_schema_view(post=extend_schema(operation_id="governance_evaluations"))
class Evaluations(authzen.Evaluations):
    """Many questions to Governance."""

    catalogue: ClassVar[DecisionPoint] = Catalogue()
