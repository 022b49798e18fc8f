"""A decision becomes a status: conditions with their transition times, figures, and the events that changes deserve.

Composes and compares only. A status that says nothing new equals the old one, so the shell writes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tidemill_api.conditions import AWAITED, ConditionType, Reason
from tidemill_api.v1alpha1.batch_inference_job import LONG_WINDOW
from tidemill_api.v1alpha1.batch_inference_job_status import (
    BatchInferenceJobStatus,
    Condition,
    OutputStatus,
    WorkersStatus,
)
from tidemill_operator.core.decision import Case, Claim, Decision
from tidemill_operator.core.outlook import prospect, settled
from tidemill_operator.core.plan import Event
from tidemill_operator.core.window_risk import window_claim

if TYPE_CHECKING:
    from datetime import datetime

FIRST_CLAIMS = (
    Claim(ConditionType.VALIDATED, "Unknown", Reason.AWAITING_VALIDATION, "The input has not been read yet."),
    Claim(ConditionType.PROGRESSING, "Unknown", Reason.CLUSTER_STARTING, "The operator has just seen the job."),
    Claim(ConditionType.SUSPENDED, "False", Reason.NOT_SUSPENDED, "spec.suspend is false."),
    Claim(ConditionType.WINDOW_AT_RISK, "Unknown", Reason.NO_FORECAST, "Nothing is known of its speed yet."),
    Claim(ConditionType.SUCCEEDED, "Unknown", Reason.RUNNING, "The job has not finished."),
    Claim(ConditionType.FINISHED, "False", Reason.RUNNING, "The job has not finished."),
)
"""What a job says on the first visit, in the order in which conditions are listed."""

TROUBLE = AWAITED | {Reason.CLUSTER_REJECTED, Reason.KUBERAY_MISSING, Reason.DRIVER_FAILING, Reason.RAY_UNREACHABLE}
"""Reasons of Progressing that deserve a Warning when they appear."""

LONG_WINDOW_MESSAGE = (
    "completionWindow {window} is above 8h: people stop waiting for results that come the next day, and a stuck job"
    " is noticed as late. Prefer a window in which somebody still looks."
)
BEGINS = {
    "Cancelled": Event("Normal", "Cancelling", "spec.cancel is true: the job is brought to its end."),
    "Expired": Event("Warning", "Expiring", "The completion window ended: the job is brought to its end."),
}
SUSPENDING = Event("Normal", Reason.SUSPEND_REQUESTED, "spec.suspend is true: the work stops and the pods go.")
"""What is told when an end or a pause begins that takes a while."""

MAX_MESSAGE = 32_000
"""Characters of a condition's message; the API allows 32768."""


def compose(case: Case, decision: Decision) -> BatchInferenceJobStatus:
    """The status after this decision. `lastTransitionTime` moves only where a condition's status flips."""
    seen, old = case.seen, case.status
    changes: dict[str, object] = {
        "observed_generation": seen.job.generation,
        "start_time": old.start_time or seen.now,
        "driver": decision.driver or case.driver,
        "workers": _workers(case, decision),
        "cluster_name": seen.cluster.name if seen.cluster and not decision.ended else "",
    }
    if decision.ended is not None:
        changes["completion_time"] = seen.now if decision.ended else None
        changes["output"] = decision.output or OutputStatus()
    changes |= {name: value for name in ("rows", "tokens") if (value := getattr(decision, name)) is not None}
    so = prospect(seen, old.model_copy(update=changes))
    window = window_claim(case, decision, so)
    claims = (*_resumed(case), *decision.claims, *((window,) if window is not None else ()))
    conditions = _conditions(old.conditions, claims, seen.now, seen.job.generation)
    new = so.status.model_copy(update={"conditions": conditions})
    return settled(seen, new, _calm(new, old))


def _calm(new: BatchInferenceJobStatus, old: BatchInferenceJobStatus) -> BatchInferenceJobStatus:
    """The new status with those figures of the old one that move with every look, and what is said with them."""
    said = {c.type: c for c in old.conditions if c.type == ConditionType.WINDOW_AT_RISK}
    conditions = tuple(
        c.model_copy(update={"message": said[c.type].message}) if c.type in said else c for c in new.conditions
    )
    moving = {name: getattr(old, name) for name in ("queue", "forecast", "planned", "measured")}
    return new.model_copy(update={"conditions": conditions, **moving})


def _resumed(case: Case) -> tuple[Claim, ...]:
    """A job that was suspended and is to work or to end says so, whichever rule applies; that rule's word wins."""
    if not case.is_true(ConditionType.SUSPENDED) or case.driver.suspend_time is not None:
        return ()
    message = "The job ends." if case.seen.job.spec and case.seen.job.spec.suspend else "spec.suspend is false."
    return (Claim(ConditionType.SUSPENDED, "False", Reason.NOT_SUSPENDED, message),)


def _workers(case: Case, decision: Decision) -> WorkersStatus:
    if decision.ended:
        return WorkersStatus()
    desired = case.status.workers.desired if decision.workers_desired is None else decision.workers_desired
    return WorkersStatus(desired=desired, ready=sum(w.ready and not w.deleting for w in case.seen.workers))


def _conditions(
    old: tuple[Condition, ...], claims: tuple[Claim, ...], now: datetime, generation: int
) -> tuple[Condition, ...]:
    before = {condition.type: condition for condition in old}
    claimed = {claim.type: claim for claim in claims}
    return tuple(
        _condition(before.get(first.type), claimed.get(first.type), first, (now, generation)) for first in FIRST_CLAIMS
    )


def _condition(before: Condition | None, claim: Claim | None, first: Claim, moment: tuple[datetime, int]) -> Condition:
    now, generation = moment
    if claim is None and before is not None:
        return before.model_copy(update={"observed_generation": generation})
    claim = claim or first
    flipped = before is None or before.status != claim.status
    return Condition(
        type=claim.type,
        status=claim.status,
        observed_generation=generation,
        last_transition_time=now if before is None or flipped else before.last_transition_time,
        reason=claim.reason,
        message=claim.message[:MAX_MESSAGE],
    )


def events(case: Case, decision: Decision, new: BatchInferenceJobStatus) -> tuple[Event, ...]:
    """What happened, for people: the rule's own events, then one for each condition that says something new."""
    told = list(decision.events)
    if (warning := _long_window(case)) is not None:
        told.insert(0, warning)
    if case.ending and case.ending_begins and not decision.ended:
        told.insert(0, BEGINS[case.ending])
    if case.suspending_begins and not decision.ended:
        told.insert(0, SUSPENDING)
    before = {condition.type: condition for condition in case.status.conditions}
    for condition in new.conditions:
        old = before.get(condition.type)
        if old is not None and (old.status, old.reason) == (condition.status, condition.reason):
            continue
        if (event := _event(condition, was_true=old is not None and old.status == "True")) is not None:
            told.append(event)
    return tuple(told)


def _event(condition: Condition, *, was_true: bool) -> Event | None:
    """The event of a condition that changed; None where another condition or action says it already."""
    kind: Literal["Normal", "Warning"] = "Normal"
    reason = condition.reason
    match condition.type, condition.status:
        case ((ConditionType.SUCCEEDED | ConditionType.VALIDATED), "True"):
            pass
        case ConditionType.SUCCEEDED, "False":
            kind = "Warning"
        case ConditionType.WINDOW_AT_RISK, "True":
            return Event("Warning", "WindowAtRisk", f"{reason}: {condition.message}")
        case ConditionType.WINDOW_AT_RISK, "False" if was_true and reason == Reason.ON_TRACK:
            reason = "WindowSafe"
        case ConditionType.SUSPENDED, "True":
            reason = "Suspended"
        case ConditionType.SUSPENDED, "False" if was_true:
            reason = "Resumed"
        case ConditionType.PROGRESSING, _ if reason in TROUBLE:
            kind = "Warning"
        case ConditionType.PROGRESSING, "True" if reason in (Reason.PROCESSING, Reason.FINALISING):
            pass
        case _:
            return None
    return Event(kind, reason, condition.message)


def _long_window(case: Case) -> Event | None:
    job = case.seen.job
    if job.spec is None or job.status.observed_generation == job.generation or job.spec.window <= LONG_WINDOW:
        return None
    if job.status.completion_time is not None:
        return None
    return Event("Warning", "LongCompletionWindow", LONG_WINDOW_MESSAGE.format(window=job.spec.completion_window))
