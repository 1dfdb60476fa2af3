"""Why a submission is not even written down: it names something that is not there for its tenant."""

from __future__ import annotations


class NotTakenError(LookupError):
    """A submission names something that is not there for its tenant: nothing of it is written."""


class UnknownEnvironmentError(NotTakenError):
    """There is no such environment, or it is not for this tenant: nothing could ever serve the request."""


class UnknownDependencyError(NotTakenError):
    """It depends on a job that its tenant does not have; whether another has it is not said."""


class UnusablePlanError(NotTakenError):
    """Its contract's plan cannot be run; says where and what would be right."""


class UnknownTenantError(LookupError):
    """There is no such tenant: a token for all of them may name any."""
