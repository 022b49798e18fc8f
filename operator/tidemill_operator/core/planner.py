"""The policy of a BatchInferenceJob: an ordered list of rules, first match wins. The order is the policy.

`plan` is the whole decision: a snapshot goes in, actions, the new status and events come out. It remembers nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill_operator.core import (
    rules_cluster,
    rules_driver,
    rules_end,
    rules_ending,
    rules_pause,
    rules_schedule,
    rules_work,
    status,
)
from tidemill_operator.core.attempts import book
from tidemill_operator.core.decision import Case, Decision
from tidemill_operator.core.outlook import next_look
from tidemill_operator.core.plan import Plan
from tidemill_operator.core.stopping import remove_cluster

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidemill_operator.core.snapshot import Snapshot

    Rule = Callable[[Case], Decision | None]

RULES: tuple[Rule, ...] = (
    rules_end.being_deleted,  # nothing is ours any more
    rules_end.finished,  # what ended stays ended
    rules_end.invalid_spec,  # nothing runs on a spec that cannot be read
    rules_end.healed_spec,
    rules_end.outcome_is_final,  # an end in time beats a cancel or the window's end seen in the same moment
    rules_ending.given_up,  # whatever happens, a job that is to end ends
    rules_ending.nothing_to_write,
    rules_ending.nowhere_to_write,
    rules_ending.driver_at_work,
    rules_ending.lines_being_written,
    rules_pause.suspended,
    rules_pause.source_not_ready,
    rules_schedule.start_planned,
    rules_cluster.cluster_rejected,
    rules_cluster.awaiting_retry,  # waiting costs no worker
    rules_cluster.cluster_leaving,
    rules_cluster.cluster_missing,
    rules_cluster.awaiting_admission,  # nothing of it runs
    rules_cluster.head_starting,
    rules_driver.ray_silent,  # what is unknown is held
    rules_driver.driver_refused,
    rules_driver.attempt_missing,
    rules_driver.pool_outgrown,
    rules_work.working,
)


def plan(seen: Snapshot) -> Plan:
    """What to do about this job at this moment."""
    case = Case(seen, book(seen))
    decision = next((d for rule in RULES if (d := rule(case)) is not None), Decision())
    if seen.job.deleting:  # a finalizer may keep it for days, in which its pods would do nobody any good
        return Plan(status=seen.job.status, actions=remove_cluster(case) if seen.job.held else ())
    new = status.compose(case, decision)
    return Plan(
        status=new,
        actions=decision.actions,
        events=status.events(case, decision, new),
        recheck_after=next_look(seen, new, decision.recheck_after),
    )
