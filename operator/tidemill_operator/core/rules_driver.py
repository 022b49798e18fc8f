"""Rules about the driver's submission: whether Ray is in reach, takes the driver, and has one at work."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tidemill_api.conditions import ConditionType, Reason
from tidemill_operator.core.attempts import MAX_FAILURES, open_attempt, refused_backoff
from tidemill_operator.core.claims import awaited, log_lines, next_try
from tidemill_operator.core.decision import Case, Claim, Decision
from tidemill_operator.core.graces import AGENT_GRACE, HEADLESS_GRACE, SILENCE_GRACE, STOP_GRACE, until
from tidemill_operator.core.plan import Event, StopDriver, SubmitDriver
from tidemill_operator.core.snapshot import AttemptState
from tidemill_operator.core.stopping import remove_cluster
from tidemill_operator.core.worker_group import scale_actions

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from tidemill_api.v1alpha1.batch_inference_job_status import DriverStatus


def ray_silent(case: Case) -> Decision | None:
    """An attempt was submitted and Ray does not answer: hold everything for a while and look again soon.

    An attempt that only writes lines needs no worker.
    """
    if not open_attempt(case.driver) or case.seen.attempt.state is not AttemptState.UNKNOWN:
        return None
    held = "" if case.ending else " Workers are held as they are."
    message = f"Ray on the head pod does not answer: {case.seen.attempt.problem}{held}"
    claim = Claim(ConditionType.PROGRESSING, "Unknown", Reason.RAY_UNREACHABLE, message)
    return _out_of_reach(case, claim, SILENCE_GRACE, case.seen.now + case.seen.tuning.poll)


def _out_of_reach(case: Case, claim: Claim, patience: timedelta, again: datetime) -> Decision:
    """Says so, and lets go what no longer has to be paid for: in the end all, since a new head may be in reach."""
    since = _unreachable_since(case)
    waiting = Decision(claims=(claim,), recheck_after=until(case, again))
    if since is not None and case.seen.now >= since + (STOP_GRACE if case.ending else patience):
        message = f"Ray was out of reach for {case.seen.now - since}: removed the RayCluster, a new one is made."
        removed = Event("Warning", "ClusterRemoved", message)
        return replace(waiting, actions=remove_cluster(case), workers_desired=0).told(removed)
    if case.ending:
        return replace(waiting, actions=scale_actions(case, wanted=0, in_flight={}), workers_desired=0)
    return waiting


def driver_refused(case: Case) -> Decision | None:
    """Ray did not take the driver in this pass. Its job agent comes up later than the head: trouble only after that."""
    problem, cluster = case.seen.submit_problem, case.seen.cluster
    if not problem or cluster is None:
        return None
    since = cluster.head_ready_since
    starting = since is None or case.seen.now - since < AGENT_GRACE
    if starting and not case.seen.submit_refused:
        claim = Claim(ConditionType.PROGRESSING, "True", Reason.CLUSTER_STARTING, "Ray's job agent is starting.")
        return Decision(claims=(claim,), recheck_after=case.seen.tuning.start_poll)
    again = case.seen.now + refused_backoff(_unreachable_since(case), case.seen.now)
    message = f"Ray on the head pod does not take the driver: {problem}. {next_try(again)}"
    claim = Claim(ConditionType.PROGRESSING, "Unknown", Reason.RAY_UNREACHABLE, message)
    return _out_of_reach(case, claim, HEADLESS_GRACE, again)


def _unreachable_since(case: Case) -> datetime | None:
    said = case.condition(ConditionType.PROGRESSING)
    if said is None or (said.status, said.reason) != ("Unknown", Reason.RAY_UNREACHABLE):
        return None
    return said.last_transition_time


def attempt_missing(case: Case) -> Decision | None:
    """No attempt runs: submit the next one. What was awaited stays said until this attempt gets further."""
    if open_attempt(case.driver) or case.seen.cluster is None:
        return None
    number = case.driver.attempt + 1
    submit = SubmitDriver(case.seen.cluster.head_ip, number, case.ending, case.source_folder)
    troubled = case.driver.waits > 0 or case.driver.failures >= MAX_FAILURES
    decision = Decision(
        actions=(submit, *(scale_actions(case, wanted=0, in_flight={}) if case.ending else ())),
        claims=() if troubled else (_starting(case),),
        driver=_submitted(case, submit),
        workers_desired=0 if case.ending else None,
        recheck_after=case.seen.tuning.start_poll,
    ).told(Event("Normal", "DriverSubmitted", f"Submitted attempt {number} of the driver."))
    died = (
        case.just_booked and case.seen.attempt.outcome is None and case.seen.attempt.state is not AttemptState.STOPPED
    )
    return decision.told(_death(case)) if died else decision


def _submitted(case: Case, submit: SubmitDriver) -> DriverStatus:
    """The ledger with the new attempt in it."""
    new: dict[str, object] = {"attempt": submit.attempt, "ending": submit.ending, "retry_time": None}
    new |= {"pool_size": case.spec.workers.max, "resubmit_of_uri": submit.resubmit_of_uri}
    return case.driver.model_copy(update=new)


def _starting(case: Case) -> Claim:
    if case.ending is None:
        return Claim(ConditionType.PROGRESSING, "True", Reason.VALIDATING, "The driver is starting.")
    message = f"The driver is starting, to write the error lines of rows without an answer.{awaited(case)}"
    return Claim(ConditionType.PROGRESSING, "True", Reason(case.ending), message)


def _death(case: Case) -> Event:
    lost = case.seen.attempt.state is AttemptState.LOST
    what = "was lost with its head pod" if lost else "died without saying why"
    message = f"Attempt {case.driver.ended_attempt} of the driver {what}.{log_lines(case)}"
    return Event("Warning", "DriverDied", message[:1000])


def pool_outgrown(case: Case) -> Decision | None:
    """workers.max was raised above the engine pool of the running attempt: restart it with a larger pool.

    A driver cannot grow its pool; it flushes when it is stopped, so no answered row is run again.
    """
    metrics = case.seen.metrics
    grown = 0 < case.driver.pool_size < case.spec.workers.max
    cluster = case.seen.cluster
    if not grown or cluster is None or cluster.fixed or metrics is None or metrics.phase == "finalising":
        return None
    message = f"workers.max was raised to {case.spec.workers.max}: the driver restarts with a larger pool."
    claim = Claim(ConditionType.PROGRESSING, "True", Reason.AWAITING_WORKERS, message)
    stop = StopDriver(cluster.head_ip, case.driver.attempt)
    return Decision(actions=(stop,), claims=(claim,), recheck_after=case.seen.tuning.start_poll)
