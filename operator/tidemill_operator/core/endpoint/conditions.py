"""The conditions of an endpoint: what each says, when it flipped, and which change of one is told as an event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tidemill_api.endpoint_conditions import STARTUP_PROBLEMS, EndpointCondition, EndpointReason
from tidemill_api.v1alpha1.batch_inference_job_status import Condition
from tidemill_operator.core.endpoint.case import about_new
from tidemill_operator.core.plan import Event

if TYPE_CHECKING:
    from datetime import datetime

    from tidemill_operator.core.endpoint.case import Decided, Step, Truth

MAX_MESSAGE = 32_000
"""Characters of a condition's message; the API allows 32768."""

TROUBLE = STARTUP_PROBLEMS | {
    EndpointReason.INVALID_SPEC,
    EndpointReason.SECRET_NOT_FOUND,
    EndpointReason.CLUSTER_REJECTED,
    EndpointReason.KUBERAY_MISSING,
    EndpointReason.CHANGE_REFUSED,
    EndpointReason.SERVICE_NAME_TAKEN,
    EndpointReason.REPLICAS_FAILING,
    EndpointReason.INSUFFICIENT_CAPACITY,
    EndpointReason.PODS_FAILING,
    EndpointReason.REVISION_LATE,
    EndpointReason.RAY_UNREACHABLE,
}
"""Reasons of Progressing that deserve a Warning when they appear."""


GRANT = "Tried again with back-off: raise the quota or give the right that is missing."


@dataclass(frozen=True)
class EndpointClaim:
    """What a condition is to say."""

    type: EndpointCondition
    status: Truth
    reason: EndpointReason
    message: str


def available(decided: Decided, size: int) -> EndpointClaim:
    """Whether requests are answered now, by the revision that the Service leads to. `size`: replicas wanted of it."""
    view = decided.seen.revision(decided.leads_to)
    kind = EndpointCondition.AVAILABLE
    if view.cluster is None:
        return EndpointClaim(kind, "False", EndpointReason.INGRESS_NOT_READY, "No revision serves yet.")
    if view.serve is None:
        return EndpointClaim(kind, "Unknown", EndpointReason.RAY_UNREACHABLE, "Ray does not say what runs.")
    running = len(view.serve.engine.running)
    if not view.serve.ingress.running:
        return EndpointClaim(kind, "False", EndpointReason.INGRESS_NOT_READY, "No ingress replica answers.")
    if running:
        return EndpointClaim(kind, "True", EndpointReason.REPLICAS_RUNNING, "Requests are answered.")
    if size == 0 and not decided.failing:
        return EndpointClaim(kind, "True", EndpointReason.SCALED_TO_ZERO, "The next request wakes a replica.")
    held = f"Requests are held until a replica answers. {_last_try(decided)}".rstrip()
    return EndpointClaim(kind, "False", EndpointReason.NO_REPLICA_RUNNING, held)


def _last_try(decided: Decided) -> str:
    """What came of the last try to start a replica, where none answered since, and when the next one is made."""
    step = decided.leading
    if not decided.failing or step is None or step.progressing != "False":
        return ""
    if step.reason is EndpointReason.SETTLED:
        return "The last try to start one failed; the next request has another made."
    return f"The last try to start one failed. {step.message}"


def progressing(decided: Decided) -> EndpointClaim:
    """What is being done or awaited: about the revision of the spec, while that is not the one that serves."""
    kind, seen = EndpointCondition.PROGRESSING, decided.seen
    if seen.service is not None and seen.service.foreign:
        message = f"A Service {seen.endpoint.name} that is not this endpoint's stands in its place: give one of them"
        return EndpointClaim(kind, "False", EndpointReason.SERVICE_NAME_TAKEN, f"{message} another name.")
    if not seen.wanted:
        held = f" Revision {seen.serving} serves on." if seen.serving else ""
        return EndpointClaim(kind, "False", EndpointReason.INVALID_SPEC, f"{seen.endpoint.spec_problem}{held}")
    if refused := seen.service_refused or seen.scale_refused:
        return EndpointClaim(kind, "False", EndpointReason.CHANGE_REFUSED, f"{refused.rstrip('.')}. {GRANT}")
    if decided.wanted is None:
        return EndpointClaim(kind, "True", EndpointReason.CLUSTER_STARTING, "The endpoint has just been seen.")
    return _of_step(decided, decided.wanted)


def _of_step(decided: Decided, step: Step) -> EndpointClaim:
    kind, seen = EndpointCondition.PROGRESSING, decided.seen
    if seen.serving and seen.wanted != decided.leads_to:
        reason = EndpointReason.ROLLING_OUT if step.progressing == "True" else step.reason
        return EndpointClaim(kind, step.progressing, reason, about_new(seen.wanted) + step.message)
    if step.reason is not EndpointReason.SETTLED:
        return EndpointClaim(kind, step.progressing, step.reason, step.message)
    if decided.draining or (decided.moving and seen.serving):
        message = "The old revision finishes its requests."
        return EndpointClaim(kind, "True", EndpointReason.DRAINING_OLD_REVISION, message)
    return EndpointClaim(kind, "False", step.reason, step.message)


def ready(decided: Decided, is_available: EndpointClaim, doing: EndpointClaim) -> EndpointClaim:
    """The sum: requests are answered, by the revision of the spec, by as many replicas as it asks for at least."""
    kind, seen = EndpointCondition.READY, decided.seen
    if is_available.status != "True":
        return EndpointClaim(kind, is_available.status, is_available.reason, is_available.message)
    if not seen.wanted or seen.wanted != decided.leads_to or doing.status == "Unknown":
        return EndpointClaim(kind, "False", doing.reason, doing.message)
    serve, spec = seen.revision(decided.leads_to).serve, seen.endpoint.spec
    running = len(serve.engine.running) if serve is not None else 0
    least = spec.replicas.min if spec is not None else 0
    if running < least:
        return EndpointClaim(kind, "False", doing.reason, f"{running} of at least {least} replicas answer.")
    return EndpointClaim(kind, "True", EndpointReason.SERVING, "The endpoint serves what the spec asks for.")


def conditions(
    old: tuple[Condition, ...], claims: tuple[EndpointClaim, ...], now: datetime, generation: int
) -> tuple[Condition, ...]:
    """The conditions in the order of `EndpointCondition`; the time moves only where a status flips."""
    before = {condition.type: condition for condition in old}
    claimed = {claim.type: claim for claim in claims}
    return tuple(_condition(before.get(kind), claimed[kind], now, generation) for kind in EndpointCondition)


def _condition(before: Condition | None, claim: EndpointClaim, now: datetime, generation: int) -> Condition:
    flipped = before is None or before.status != claim.status
    return Condition(
        type=claim.type,
        status=claim.status,
        observed_generation=generation,
        last_transition_time=now.replace(microsecond=0) if before is None or flipped else before.last_transition_time,
        reason=claim.reason,
        message=claim.message[:MAX_MESSAGE],
    )


def events_of(old: tuple[Condition, ...], new: tuple[Condition, ...]) -> tuple[Event, ...]:
    """One event for each condition that says something new which people want to know."""
    before = {condition.type: (condition.status, condition.reason) for condition in old}
    changed = [condition for condition in new if before.get(condition.type) != (condition.status, condition.reason)]
    return tuple(event for condition in changed if (event := _event(condition, before)) is not None)


def _event(condition: Condition, before: dict[str, tuple[str, str]]) -> Event | None:
    kind: Literal["Normal", "Warning"] = "Normal"
    was = before.get(condition.type, ("", ""))[0]
    match condition.type, condition.status:
        case EndpointCondition.PROGRESSING, _ if condition.reason in TROUBLE:
            kind = "Warning"
        case EndpointCondition.AVAILABLE, "False" if was == "True":
            kind = "Warning"
        case EndpointCondition.READY, "True":
            pass
        case _:
            return None
    return Event(kind, condition.reason, condition.message)
