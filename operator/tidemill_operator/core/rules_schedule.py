"""The rule of a job that has time: validated at once, so that bad lines are known early, and no pod until its start.

Nothing may cost meanwhile. The cluster goes once the input is known to be good, and comes back a little before the
planned start; the chunk index lies in the output folder by then. Work that has begun is not undone by this rule.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tidemill_api.conditions import ConditionType, Reason
from tidemill_operator.core.attempts import open_attempt
from tidemill_operator.core.decision import Case, Claim, Decision
from tidemill_operator.core.figures import figures
from tidemill_operator.core.graces import SAFETY_NET
from tidemill_operator.core.job_schedule import LEAD, not_begun, timetable
from tidemill_operator.core.stopping import remove_cluster, stop_driver

if TYPE_CHECKING:
    from datetime import datetime

    from tidemill_api.v1alpha1.queue_status import PlannedStatus


def start_planned(case: Case) -> Decision | None:
    """The input is good and the planned start lies ahead: remove the cluster and wait for it."""
    validated = case.condition(ConditionType.VALIDATED)
    if case.spec.schedule != "LatestSafe" or case.ending is not None or validated is None:
        return None
    planned = _ahead(case) if validated.status == "True" else None
    if planned is None:
        return None
    claim = Claim(ConditionType.PROGRESSING, "False", Reason.START_PLANNED, _message(planned))
    if open_attempt(case.driver) and case.seen.cluster is not None and not case.seen.cluster.deleting:
        return stop_driver(case, _stopping_since(case, validated.last_transition_time), claim)
    left = planned.start_time - LEAD - case.seen.now
    wait = SAFETY_NET if case.seen.cluster is not None else left
    return replace(
        figures(case),
        actions=remove_cluster(case),
        claims=(claim,),
        workers_desired=0,
        recheck_after=min(wait, left),
    )


def _ahead(case: Case) -> PlannedStatus | None:
    """The plan whose start is not near yet; None where work has begun, rows are not counted, or it is time."""
    in_flight = case.seen.metrics is not None and any(case.seen.metrics.in_flight.values())
    if in_flight or not not_begun(case.status) or case.status.rows.total <= 0:
        return None
    plan = timetable(case.seen, case.status)
    return plan.planned if plan is not None and case.seen.now < plan.planned.start_time - LEAD else None


def _stopping_since(case: Case, validated: datetime) -> datetime:
    """Since when the driver is being stopped: since this was said first, or since its input was known to be good."""
    said = case.condition(ConditionType.PROGRESSING)
    if said is not None and said.reason == Reason.START_PLANNED:
        return said.last_transition_time
    return max(validated, case.seen.now)


def _message(planned: PlannedStatus) -> str:
    return (
        f"The input is valid. The work is planned to start at {planned.start_time:%Y-%m-%dT%H:%M:%SZ} and to be done by"
        f" {planned.finish_time:%Y-%m-%dT%H:%M:%SZ} (schedule: LatestSafe); no pod runs until then."
    )
