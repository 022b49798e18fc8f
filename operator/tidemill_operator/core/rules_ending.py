"""Rules of a job that is cancelled or whose window is over: stop the driver, have the rest of the lines written, end.

Rows that have no line get their error line from one more attempt, which runs no row and needs no worker, in the same
cluster or in a new one. Every way through these rules ends: by that attempt's outcome, at once where there is nothing
to write, and after `ENDING_GRACE` with what is known then (after `ENDING_LIMIT` where an attempt is at it).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from tidemill_api.conditions import ConditionType, Reason
from tidemill_operator.core.attempts import finalising, open_attempt
from tidemill_operator.core.claims import awaited, log_lines
from tidemill_operator.core.decision import Case, Claim, Decision
from tidemill_operator.core.figures import figures
from tidemill_operator.core.graces import ENDING_GRACE, ENDING_LIMIT
from tidemill_operator.core.rules_end import end
from tidemill_operator.core.snapshot import AttemptState
from tidemill_operator.core.stopping import stop_driver
from tidemill_operator.core.worker_group import scale_actions

if TYPE_CHECKING:
    from tidemill_api.job_contract import Ending


def given_up(case: Case) -> Decision | None:
    """An hour of trying is over: the job ends with what is known. An attempt that is still at it has longer."""
    since = case.driver.ending_time
    if case.ending is None or since is None:
        return None
    grace = ENDING_LIMIT if _at_it(case) else ENDING_GRACE
    if case.seen.now < since + grace:
        return None
    why = f"The results could not be put in order within {grace // timedelta(hours=1)} h.{awaited(case)}"
    return _end_without_lines(case, case.ending, why)


def _at_it(case: Case) -> bool:
    """Whether an attempt is at work, or only not heard of for a while: a head that stays silent is removed."""
    if case.seen.cluster is None or not open_attempt(case.driver):
        return False
    state = case.seen.attempt.state
    return state is AttemptState.ACTIVE or (state is AttemptState.UNKNOWN and not case.head_away_for_good)


def nothing_to_write(case: Case) -> Decision | None:
    """No attempt is known to have been submitted and no head is ready: the job ends at once, and no head is started.

    Where an attempt was submitted, not even a status without one checked line says that nothing was written: it may
    have done all of it unseen, before its head died or the operator came back. Only a driver can look, so attempts that
    end the job are made until one says how it ended or `given_up` applies, with a new head where there is none. A ready
    head is asked as well where no attempt is known, since a submission may have been made and not written down: that
    takes seconds. What else may lie in the output folder (an earlier object's lines, or those of such a submission
    whose head is gone) is not looked for, which is said.
    """
    if case.ending is None or case.is_true(ConditionType.VALIDATED) or case.driver.attempt > 0:
        return None
    cluster = case.seen.cluster
    if cluster is not None and cluster.head_ready and not cluster.deleting:
        return None
    message = (
        f"{_cause(case, case.ending)} before this job was seen to run any row; lines that stand in"
        f" {case.spec.output.uri}, if any, are not joined.{awaited(case)}"
    )
    return end(case, Reason(case.ending), message)


def nowhere_to_write(case: Case) -> Decision | None:
    """The end came while the job waited for its output folder: error lines could not be written there either."""
    if case.ending is None or not case.ending_begins or open_attempt(case.driver):
        return None
    outcome = case.seen.attempt.outcome
    reason = outcome.reason if case.just_booked and outcome else case.reason(ConditionType.PROGRESSING)
    if reason != Reason.OUTPUT_NOT_WRITABLE:
        return None
    return _end_without_lines(case, case.ending, "The output folder takes no file.")


def driver_at_work(case: Case) -> Decision | None:
    """A driver still runs rows: stop it. One that is already putting the results in order may finish.

    Such a one does not hear a stop, and its work would be done again: only Ray's own silence removes its cluster.
    """
    since = case.driver.ending_time
    if case.ending is None or since is None or not open_attempt(case.driver) or case.driver.ending is not None:
        return None
    if finalising(case.driver):
        return None
    message = (
        f"{_cause(case, case.ending)}; the driver is being stopped, and writes down what is answered.{awaited(case)}"
    )
    claim = Claim(ConditionType.PROGRESSING, "True", Reason(case.ending), message)
    return stop_driver(case, since, claim)


def lines_being_written(case: Case) -> Decision | None:
    """The attempt that writes the rest of the lines runs: no worker is needed any more."""
    reason = case.driver.ending
    if reason is None or not open_attempt(case.driver) or case.seen.attempt.state is not AttemptState.ACTIVE:
        return None
    message = f"Rows without an answer get their error lines, and the results are put in order.{awaited(case)}"
    claim = Claim(ConditionType.PROGRESSING, "True", Reason(reason), message)
    known = figures(case)
    return replace(
        known,
        actions=scale_actions(case, wanted=0, in_flight={}),
        claims=(*known.claims, claim),
        workers_desired=0,
        recheck_after=case.seen.tuning.poll,
    )


def _cause(case: Case, ending: Ending) -> str:
    if ending == "Cancelled":
        return "The job was cancelled"
    return f"The completion window of {case.spec.completion_window} ended"


def _end_without_lines(case: Case, ending: Ending, why: str) -> Decision:
    rows = case.status.rows
    answered = f"{case.rows_answered} of {rows.total} rows answered" if rows.total else "no row known to be answered"
    message = (
        f"{_cause(case, ending)} with {answered}. {why} The lines of answered rows stand in the folder parts/ of"
        f" {case.spec.output.uri}; the other rows have none.{log_lines(case)}"
    )
    return end(case, Reason(ending), message)
