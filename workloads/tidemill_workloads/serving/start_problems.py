"""Why an engine does not start, in words for the user who can mend it. Pure."""

from __future__ import annotations

import re

from tidemill_api.conditions import Reason
from tidemill_api.endpoint_conditions import EndpointReason
from tidemill_api.endpoint_contract import EngineProblem
from tidemill_workloads.errors import JobRefused
from tidemill_workloads.serving.start_log import cause_in, last_words

_REFUSALS = {
    Reason.INVALID_SPEC: EndpointReason.ENGINE_ARGUMENTS_REFUSED,
    Reason.MODEL_NOT_FOUND: EndpointReason.MODEL_NOT_FOUND,
    Reason.MODEL_NOT_LOADABLE: EndpointReason.MODEL_NOT_LOADABLE,
}

_LONGEST = 600


_LENGTH_ARGUMENTS = ("max_model_len", "gpu_memory_utilization", "max_num_batched_tokens")
"""VLLM's names of arguments: where it advises to change one, the spec's engine arguments are what to mend."""

_KILLED = re.compile(r"Failed core proc\(s\): \{.*: -9\b")


def problem_of(error: BaseException, log: str = "") -> EngineProblem:
    """What an engine's start raised, as the operator shows it; `log` is what its own process wrote meanwhile."""
    if isinstance(error, JobRefused) and error.reason in _REFUSALS:
        return EngineProblem(reason=_REFUSALS[error.reason], message=error.message)
    cause = (cause_in(log) or _last_line(error))[:_LONGEST]
    if _KILLED.search(str(error)):
        message = "spec.resources.memory: the engine was killed while it loaded, as for want of memory; give it more"
        return EngineProblem(reason=EndpointReason.MODEL_NOT_LOADABLE, message=message)
    if any(name in cause for name in _LENGTH_ARGUMENTS):
        message = f"spec.model.engineArgs: vLLM refuses them for this model and machine: {cause}"
        return EngineProblem(reason=EndpointReason.ENGINE_ARGUMENTS_REFUSED, message=message)
    message = f"spec.model: the engine cannot load it: {cause}; the log of the worker pod says more"
    return EngineProblem(reason=EndpointReason.MODEL_NOT_LOADABLE, message=message)


def late_problem(seconds: float, log: str = "") -> EngineProblem:
    """An engine that was given up after so long; `log` is what its own process wrote meanwhile."""
    said = f"the last that it said is: {last_words(log)[:_LONGEST]}" if last_words(log) else "it said nothing"
    message = (
        f"spec.model: the engine has not started within {seconds:.0f} s (upgrade.progressDeadlineSeconds); {said}; the"
        " log of the worker pod says more"
    )
    return EngineProblem(reason=EndpointReason.MODEL_NOT_LOADABLE, message=message)


def _last_line(error: BaseException) -> str:
    return next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
