"""The rule of a job at work: say how far it is, and run as many workers as its deadlines need."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tidemill_api.conditions import ConditionType, Reason
from tidemill_operator.core.attempts import failing, finalising
from tidemill_operator.core.decision import Case, Claim, Decision
from tidemill_operator.core.figures import figures, rows_of
from tidemill_operator.core.graces import START_GRACE
from tidemill_operator.core.plan import Event
from tidemill_operator.core.sizing import NONE, Sizing, sizing
from tidemill_operator.core.worker_group import scale_actions

if TYPE_CHECKING:
    from datetime import timedelta

    from tidemill_operator.core.snapshot import DriverMetrics

EXACT_LINES = 1000
"""Lines read from which on a message tells only about how many: it would be another one at every look."""


def working(case: Case) -> Decision:
    """The driver runs. With live figures: status and workers follow them. Without: both are held, and that is said."""
    metrics = case.seen.metrics
    if metrics is None:
        return _blind(case)
    healed = _healed(case, metrics)
    known = figures(case)
    size = _size(case, metrics)
    actions = () if size is None else scale_actions(case, size.workers, dict(metrics.in_flight), size.most)
    decision = replace(
        known,
        actions=actions,
        claims=(*known.claims, *((_progressing(case, metrics, size),) if healed or _was_out_of_reach(case) else ())),
        driver=case.driver.model_copy(update={"waits": 0}) if healed and case.driver.waits else None,
        workers_desired=None if size is None else size.workers,
        recheck_after=_pace(case, metrics),
    )
    if actions and case.seen.cluster is not None and actions[0].replicas != case.seen.cluster.replicas:
        rows = rows_of(case, metrics).remaining
        why = f" ({size.why})" if size is not None and size.why else ""
        text = f"Workers: {case.seen.cluster.replicas} -> {actions[0].replicas}, for {rows} rows{why}."
        decision = decision.told(Event("Normal", "Scaled", text))
    return decision


def _pace(case: Case, metrics: DriverMetrics) -> timedelta:
    """How soon to look again: often while the first workers are decided on, else rarely, however long they wait."""
    validated = case.condition(ConditionType.VALIDATED)
    since = validated.last_transition_time if validated is not None and validated.status == "True" else case.seen.now
    at_start = metrics.phase == "validating" or case.seen.now < since + START_GRACE
    return case.seen.tuning.start_poll if at_start and not metrics.in_flight else case.seen.tuning.poll


def _blind(case: Case) -> Decision:
    """No live figures: a driver that is starting, or one whose figures cannot be read. Ray says that it runs."""
    progressing = case.condition(ConditionType.PROGRESSING)
    submitted = case.seen.attempt.submitted
    starting = submitted is None or case.seen.now < submitted + START_GRACE
    claims: tuple[Claim, ...] = ()
    if progressing is not None and progressing.status != "False" and case.is_true(ConditionType.VALIDATED):
        message = f"The driver's live figures are missing: {case.seen.metrics_problem} Workers are held as they are."
        doing = Reason.FINALISING if finalising(case.driver) else Reason.FIGURES_MISSING
        claims = (Claim(ConditionType.PROGRESSING, "True", doing, message),)
    elif progressing is not None and progressing.status != "False" and not starting:
        message = f"The driver runs, but its live figures are missing: {case.seen.metrics_problem} No worker starts."
        claims = (Claim(ConditionType.PROGRESSING, "True", Reason.FIGURES_MISSING, message),)
    elif progressing is not None and progressing.status == "Unknown":
        claims = (Claim(ConditionType.PROGRESSING, "True", Reason.VALIDATING, "The driver is starting."),)
    tuning = case.seen.tuning
    return Decision(claims=claims, recheck_after=tuning.start_poll if starting else tuning.poll)


def _healed(case: Case, metrics: DriverMetrics) -> bool:
    """Whether this attempt got further than what was awaited before it."""
    if failing(case.driver, metrics.rows_answered):
        return False
    return case.driver.waits == 0 or metrics.phase != "validating" or metrics.rows_validated > 0


def _was_out_of_reach(case: Case) -> bool:
    """Whether that is still said, which ends with the first figures: patience with the next silence begins anew."""
    return case.reason(ConditionType.PROGRESSING) in (Reason.RAY_UNREACHABLE, Reason.FIGURES_MISSING)


def _progressing(case: Case, metrics: DriverMetrics, size: Sizing | None) -> Claim:
    if metrics.phase == "validating":
        message = f"{_about(metrics.rows_validated)} lines of the input read."
        return Claim(ConditionType.PROGRESSING, "True", Reason.VALIDATING, message)
    if metrics.phase == "finalising":
        message = "Every row has its line; the results are being put in order."
        return Claim(ConditionType.PROGRESSING, "True", Reason.FINALISING, message)
    ready = sum(worker.ready and not worker.deleting for worker in case.seen.workers)
    if ready == 0 and not any(metrics.in_flight.values()):  # an engine may work before its pod's probe has passed
        problem = case.seen.cluster.worker_problem if case.seen.cluster else ""
        message = f"No worker is ready yet: {problem}" if problem else "No worker is ready yet."
        return Claim(ConditionType.PROGRESSING, "True", Reason.AWAITING_WORKERS, message)
    note = size.note if size is not None else ""
    return Claim(ConditionType.PROGRESSING, "True", Reason.PROCESSING, f"Rows are being answered.{note}")


def _about(lines: int) -> str:
    """A count that grows, without a new status for each look: exact below a thousand, then by its first digit."""
    if lines < EXACT_LINES:
        return str(lines)
    step = 10 ** (len(str(lines)) - 1)
    return f"At least {lines - lines % step}"


def _size(case: Case, metrics: DriverMetrics) -> Sizing | None:
    """The workers wanted, or None to hold: a driver that has not counted lines and answers cannot say what is left."""
    if metrics.phase == "finalising":
        return NONE
    if metrics.phase == "validating":
        return None if case.is_true(ConditionType.VALIDATED) else NONE
    if metrics.rows_total is None or metrics.rows_completed is None:
        return None
    return sizing(case.seen, case.status.model_copy(update={"rows": rows_of(case, metrics)}))
