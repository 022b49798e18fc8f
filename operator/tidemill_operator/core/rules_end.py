"""Rules about the end: what is over stays over, and what ends the job now."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from tidemill_api.conditions import ConditionType, Reason
from tidemill_api.v1alpha1.batch_inference_job_status import OutputStatus, RowsStatus, TokensStatus
from tidemill_operator.core.claims import awaited, input_read, log_lines
from tidemill_operator.core.decision import Case, Claim, Decision
from tidemill_operator.core.graces import LEAVE_GRACE, STOP_POLL
from tidemill_operator.core.plan import DeleteJob
from tidemill_operator.core.stopping import remove_cluster
from tidemill_operator.core.worker_group import scale_actions

if TYPE_CHECKING:
    from tidemill_api.job_contract import Outcome
    from tidemill_operator.core.decision import Truth

SUCCESS = frozenset({Reason.ALL_ROWS_ANSWERED, Reason.SOME_ROWS_FAILED})
WITH_LINES = SUCCESS | {Reason.ALL_ROWS_FAILED, Reason.TOO_MANY_ROWS_FAILED, Reason.CANCELLED, Reason.EXPIRED}
"""Ends that come after the input was read, where the outcome has rows."""

FIX_HINT = (
    " Fix the manifest and apply it again; all but workers, completionWindow, suspend, cancel and"
    " ttlSecondsAfterFinished can only be changed by deleting the job first."
)
"""Ends the message of a spec that the operator refused, and of no other: by it that end is known as one that heals."""


def being_deleted(case: Case) -> Decision | None:
    """The job is on its way out: owner references take its children along, nothing is ours to do."""
    return Decision() if case.seen.job.deleting else None


def finished(case: Case) -> Decision | None:
    """The end stands: remove the cluster, and the job itself when its time to live is over.

    A spec that the operator itself refused is an end that heals: where it says something else now, the next rules
    look at it again. One that the driver refused (vLLM took its engineArgs for wrong, say) stays: nothing the operator
    reads would ever be different, and each new try would cost workers.
    """
    succeeded = case.condition(ConditionType.SUCCEEDED)
    if not case.is_true(ConditionType.FINISHED) or succeeded is None:
        return None
    refused_by_us = succeeded.reason == Reason.INVALID_SPEC and succeeded.message.endswith(FIX_HINT)
    if refused_by_us and succeeded.message != _spec_message(case):
        return None
    left = _time_to_live(case)
    if left is not None and left <= timedelta(0):
        return Decision(actions=(*remove_cluster(case), DeleteJob()))
    if _workers_leaving(case):
        return Decision(actions=scale_actions(case, wanted=0, in_flight={}), recheck_after=STOP_POLL)
    return Decision(actions=remove_cluster(case), recheck_after=left)


def _workers_leaving(case: Case) -> bool:
    """Whether the head has to stay for its workers' sake: without it they would hold their devices for the whole drain.

    A worker that is told to go asks the head to drain it, and leaves in seconds once its driver has ended.
    """
    cluster, completed = case.seen.cluster, case.status.completion_time
    if cluster is None or cluster.deleting or cluster.fixed or case.seen.job.spec is None or completed is None:
        return False
    return bool(cluster.replicas or case.seen.workers) and case.seen.now < completed + LEAVE_GRACE


def _time_to_live(case: Case) -> timedelta | None:
    """What is left of ttlSecondsAfterFinished; None where it is not set."""
    spec, completed = case.seen.job.spec, case.status.completion_time
    if spec is None or spec.ttl_seconds_after_finished is None or completed is None:
        return None
    return completed + timedelta(seconds=spec.ttl_seconds_after_finished) - case.seen.now


def invalid_spec(case: Case) -> Decision | None:
    """The spec is wrong: say so once and wait for an edit; nothing runs and nothing is retried."""
    if case.seen.job.spec is not None:
        return None
    return end(case, Reason.INVALID_SPEC, _spec_message(case))


def _spec_message(case: Case) -> str:
    """What is wrong with the spec and what can be done about it; empty for a spec that can be read."""
    problem = case.seen.job.spec_problem
    return f"{problem}{FIX_HINT}" if problem else ""


def healed_spec(case: Case) -> Decision | None:
    """The spec was wrong and is not any more: open the job again, the next pass starts it."""
    if not case.is_true(ConditionType.FINISHED):
        return None
    mended = "The spec was mended."
    return Decision(
        claims=(
            Claim(ConditionType.PROGRESSING, "True", Reason.CLUSTER_STARTING, mended),
            Claim(ConditionType.SUCCEEDED, "Unknown", Reason.RUNNING, mended),
            Claim(ConditionType.FINISHED, "False", Reason.RUNNING, mended),
        ),
        ended=False,
        recheck_after=timedelta(0),
    )


def outcome_is_final(case: Case) -> Decision | None:
    """The driver said how the job ended, and it is nothing that the user can mend meanwhile."""
    outcome = case.seen.attempt.outcome
    if not case.just_booked or outcome is None or outcome.awaited:
        return None
    nothing_run = case.driver.ending is not None and not outcome.rows.total
    message = f"{outcome.message}{awaited(case)}" if nothing_run else outcome.message
    return end(case, outcome.reason, message, outcome)


def end(case: Case, reason: Reason, message: str, outcome: Outcome | None = None) -> Decision:
    """The job ends now. Only the status is written; the cluster goes in the next pass, so no end is ever lost."""
    if reason is Reason.ALL_ROWS_FAILED:
        message += log_lines(case)
    succeeded: Truth = "True" if reason in SUCCESS else "False"
    claims = [
        Claim(ConditionType.PROGRESSING, "False", Reason.JOB_FINISHED, "The job has finished."),
        Claim(ConditionType.SUCCEEDED, succeeded, reason, message),
        Claim(ConditionType.FINISHED, "True", reason, "The job has finished."),
    ]
    if reason is Reason.VALIDATION_FAILED:
        claims.append(Claim(ConditionType.VALIDATED, "False", reason, message))
    elif outcome is not None and outcome.rows.total and reason in WITH_LINES:
        claims.append(input_read(outcome.rows.total, outcome.invalid_lines))
    ending = Decision(claims=tuple(claims), ended=True, workers_desired=0, recheck_after=timedelta(0))
    return _with_figures(ending, outcome) if outcome else ending


def _with_figures(ending: Decision, outcome: Outcome) -> Decision:
    """The decision with what the driver counted; one that found nothing to count takes nothing back."""
    rows, output = outcome.rows, outcome.output
    uris = OutputStatus(results_uri=output.results, errors_uri=output.errors, validation_uri=output.validation)
    if not rows.total:
        return replace(ending, output=uris)
    return replace(
        ending,
        rows=RowsStatus.counted(rows.total, rows.completed, rows.failed),
        tokens=TokensStatus(prompt=outcome.tokens.prompt, completion=outcome.tokens.completion),
        output=uris,
    )
