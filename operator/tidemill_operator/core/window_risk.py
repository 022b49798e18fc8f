"""The condition `WindowAtRisk`: whether the job will meet its window, why it may not, and what would help. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill_api.conditions import ConditionType, Reason
from tidemill_operator.core.deadline.risk import Cause, Circumstances, risk
from tidemill_operator.core.decision import Case, Claim, Decision
from tidemill_operator.core.job_load import speed_of

if TYPE_CHECKING:
    from tidemill_api.v1alpha1.batch_inference_job_status import BatchInferenceJobStatus, RowsStatus
    from tidemill_operator.core.decision import Truth
    from tidemill_operator.core.outlook import Prospect

FEW_ROWS = 20
"""With fewer rows answered than this the share of failed ones says nothing."""

UNCOUNTED_SHARE = 2 / 3
"""A job whose rows nobody could count in this share of its window is at risk, whatever they will turn out to be."""

REASONS = {
    Cause.SUSPENDED: Reason.JOB_PAUSED,
    Cause.QUOTA_REACHED: Reason.QUOTA_REACHED,
    Cause.NO_CAPACITY: Reason.NO_CAPACITY,
    Cause.BAD_ROWS: Reason.BAD_ROWS,
    Cause.SLOW_START: Reason.SLOW_START,
    Cause.SLOW_RATE: Reason.SLOW_RATE,
    Cause.TOO_FEW_WORKERS: Reason.TOO_FEW_WORKERS,
}


def window_claim(case: Case, decision: Decision, seen_so: Prospect) -> Claim | None:
    """What the condition is to say; None where it stays as it is: the figures are missing for a moment."""
    if decision.ended:
        return _claim("False", Reason.JOB_FINISHED, "The job has finished.")
    over = seen_so.status.completion_time is not None
    if over or case.seen.job.spec is None or case.seen.deadline is None or case.ending is not None:
        return None
    if case.seen.now >= case.seen.deadline:
        late = f"The completion window ended at {case.seen.deadline:%Y-%m-%dT%H:%M:%SZ}; onDeadline is Continue:"
        return _claim("True", Reason.WINDOW_PASSED, f"{late} the job works on, late.")
    if seen_so.load is None:
        return _uncounted(case, decision, seen_so.status)
    if seen_so.forecast is None:
        return None
    return _by_forecast(case, decision, seen_so)


def _uncounted(case: Case, decision: Decision, status: BatchInferenceJobStatus) -> Claim:
    """Of a job whose rows are not counted, or all answered."""
    if status.rows.total > 0:
        return _claim("False", Reason.ON_TRACK, "Every row has its line.")
    if case.seen.now < case.seen.job.created + case.spec.window * UNCOUNTED_SHARE:
        return _claim("Unknown", Reason.NO_FORECAST, "The rows of the input are not counted yet.")
    if case.driver.suspend_time is not None:
        return _claim("True", Reason.JOB_PAUSED, "The job is suspended, and its rows are not counted. Resume it.")
    waits = _waiting_message(case, decision)
    return _claim("True", Reason.JOB_WAITING, f"The rows of the input are not counted yet. {waits}".rstrip())


def _by_forecast(case: Case, decision: Decision, seen_so: Prospect) -> Claim | None:
    load, forecast, rows = seen_so.load, seen_so.forecast, seen_so.status.rows
    if load is None or forecast is None:
        return None
    turn, needed = case.seen.turn, forecast.workers_needed
    held_up = Circumstances(
        suspended=case.driver.suspend_time is not None,
        quota=turn is not None and (turn.waits > 0 or turn.workers < min(needed or load.most, load.most)),
        no_room=case.seen.cluster is not None and case.seen.cluster.no_room,
        failed_share=_failed_share(rows),
        usual=speed_of(case.spec, seen_so.status.measured, case.seen.elsewhere).usual,
    )
    standing = case.is_true(ConditionType.WINDOW_AT_RISK)
    found = risk(load, forecast, held_up, case.seen.now.timestamp(), standing=standing)
    chance = f"{forecast.chance:.0%}"
    if found is None:
        return _claim("False", Reason.ON_TRACK, f"The chance to be done within the window is {chance}.")
    reason, helps = REASONS[found.cause], found.help
    if reason is not Reason.JOB_PAUSED and (waits := _waiting_message(case, decision)):
        reason, helps = Reason.JOB_WAITING, waits
    return _claim("True", reason, f"The chance to be done within the window is {chance}. {helps}")


def _waiting_message(case: Case, decision: Decision) -> str:
    """What the job waits for by its condition Progressing; empty where it does not wait."""
    said = next((claim for claim in decision.claims if claim.type is ConditionType.PROGRESSING), None)
    before = case.condition(ConditionType.PROGRESSING)
    status = said.status if said is not None else before.status if before is not None else ""
    reason = said.reason if said is not None else before.reason if before is not None else ""
    message = said.message if said is not None else before.message if before is not None else ""
    return f"{reason}: {message}" if status == "False" and reason != Reason.START_PLANNED else ""


def _failed_share(rows: RowsStatus) -> float:
    answered = rows.completed + rows.failed
    return rows.failed / answered if answered >= FEW_ROWS else 0.0


def _claim(status: Truth, reason: Reason, message: str) -> Claim:
    return Claim(ConditionType.WINDOW_AT_RISK, status, reason, message)
