"""Why an engine does not start, in words for the user who can mend it. Pure."""

from __future__ import annotations

from tidemill_api.conditions import Reason
from tidemill_api.endpoint_conditions import EndpointReason
from tidemill_api.endpoint_contract import EngineProblem
from tidemill_workloads.errors import JobRefused

_REFUSALS = {
    Reason.INVALID_SPEC: EndpointReason.ENGINE_ARGUMENTS_REFUSED,
    Reason.MODEL_NOT_FOUND: EndpointReason.MODEL_NOT_FOUND,
    Reason.MODEL_NOT_LOADABLE: EndpointReason.MODEL_NOT_LOADABLE,
}

_LONGEST = 600


def problem_of(error: BaseException) -> EngineProblem:
    """What an engine's start raised, as the operator shows it."""
    if isinstance(error, JobRefused) and error.reason in _REFUSALS:
        return EngineProblem(reason=_REFUSALS[error.reason], message=error.message)
    cause = next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
    message = f"spec.model: the engine cannot load it: {cause[:_LONGEST]}; the log of the worker pod says more"
    return EngineProblem(reason=EndpointReason.MODEL_NOT_LOADABLE, message=message)
